"""What must not be in a site or stack file: secrets in plain text, and placeholders."""

import re
from collections.abc import Iterator

from config.finding import FieldPath, Finding
from config.yaml_source import Document

_SECRET_KEY = re.compile(
    r"(^|[-_])(password|passwd|passphrase|token|secret|secrets|api-?key|access-?key|private-?key|credentials?|webhook)$",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|[^\s=@!]+@[a-z]+![^\s=]+=[0-9a-f]{8}-[0-9a-f]{4}"  # a Proxmox API token
    r"|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}|\bglpat-[\w-]{20,}"
    r"|\bhvs\.[\w-]{20,}|\bxox[abprs]-[\w-]{10,}|hooks\.slack\.com/services/\S+"
    r"|\bK10[0-9a-f]{64}::\S+|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}"
    r"|://[^/\s:@]+:[^/\s@]+@"  # a URL with a password
)
_PLACEHOLDER = re.compile(
    r"CHANGE[-_ ]?ME|\bTODO\b|\bFIXME\b|\bXXX+\b|<[a-z][a-z0-9 _-]*>|\bREPLACE[-_ ](ME|THIS)\b", re.IGNORECASE
)
SEED_LENGTH = 64
"""Hex digits of a seed or a token."""
MIN_DISTINCT = 9
"""Random hex digits of that length have at least so many different ones (fewer: once in 10^15); ordinary texts have fewer."""


def looks_secret(text: str) -> bool:
    """Whether a text has the form of a known kind of secret; a text of repeated characters has not."""
    random_hex = re.fullmatch(r"[0-9a-f]+", text) and len(text) == SEED_LENGTH and len(set(text)) >= MIN_DISTINCT
    return bool(_SECRET_VALUE.search(text) or random_hex)


def check_plain_text(document: Document) -> Iterator[Finding]:
    """Secrets in plain text, placeholders, and `insecure: true`, anywhere in the file."""
    for path in document.lines:
        value = document.value(path)
        key = str(path[-1])
        if isinstance(value, str) and _is_secret(path, key, value):
            remedy = "remove it, create a new secret, and set it with `./lyceum secrets set`"
            yield Finding(path, "contains a secret in plain text", remedy, value=None)
        elif isinstance(value, str) and _PLACEHOLDER.search(value):
            yield Finding(path, "is a placeholder", "replace it with the real value")
        elif key == "insecure" and value is True:
            remedy = "set the CA in `proxmox.ca-file`; verification cannot be skipped"
            yield Finding(path, "would skip TLS verification", remedy)


def _is_secret(path: FieldPath, key: str, value: str) -> bool:
    if path[-1] == "sha256":
        return False
    named = bool(_SECRET_KEY.search(key)) and path[0] != "secrets" and bool(value)
    return named or looks_secret(value)

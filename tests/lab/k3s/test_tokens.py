"""Tokens have K3s's forms, and a token with a CA hash trusts only that CA."""

import pytest

from lab.k3s import tokens

BUNDLE = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"


def test_a_secure_token_gives_back_its_parts() -> None:
    parsed = tokens.parse_token(tokens.secure_token("server:geheim", BUNDLE))
    assert (parsed.user, parsed.password, parsed.ca_hash) == ("server", "geheim", tokens.ca_hash(BUNDLE))


def test_a_short_token_is_the_password() -> None:
    assert tokens.parse_token("geheim") == tokens.JoinToken("", "", "geheim")


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "must not be empty"), ("K10abc::server:x", "hash length"), (f"K10{'a' * 64}::server", "token format")],
)
def test_a_malformed_token_is_refused(text: str, reason: str) -> None:
    with pytest.raises(tokens.TokenError, match=reason):
        tokens.parse_token(text)


def test_another_clusters_ca_is_refused() -> None:
    token = tokens.parse_token(tokens.secure_token("server:x", BUNDLE))
    tokens.check_ca(token, BUNDLE)
    with pytest.raises(tokens.TokenError, match="does not match the Cluster CA certificate hash"):
        tokens.check_ca(token, BUNDLE + b"\n")


def test_the_short_form_trusts_any_ca() -> None:
    tokens.check_ca(tokens.parse_token("geheim"), BUNDLE)

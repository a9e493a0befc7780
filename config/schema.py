"""JSON Schema of site and stack files, for editors; generated from the model. `python -m config.schema` writes it anew."""

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from pydantic_core import CoreSchema

from config.paths import PROJECT, SITES
from config.reference import reference
from config.required_secrets import NAMES
from config.site import STAGES, Site
from config.tokens import SETTING

SITE_SCHEMA = SITES / "site.schema.json"
STACK_SCHEMA = SITES / "stack.schema.json"
REFERENCE = PROJECT / "docs" / "reference" / "site.md"
DRAFT = "https://json-schema.org/draft/2020-12/schema"


class _Plain(GenerateJsonSchema):
    """Without titles, which only repeat the names."""

    def generate(self, schema: CoreSchema, mode: JsonSchemaMode = "validation") -> dict[str, Any]:
        found: dict[str, Any] = _without_titles(super().generate(schema, mode))
        return found


def _without_titles(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_titles(item) for item in node]
    if isinstance(node, dict):
        return {
            key: _without_titles(value)
            for key, value in node.items()
            if not (key == "title" and isinstance(value, str))
        }
    return node


def site_schema() -> dict[str, Any]:
    """Schema of config/sites/<site>.yaml."""
    schema = Site.model_json_schema(by_alias=True, schema_generator=_Plain)
    return {"$schema": DRAFT, "title": "A campus", **schema}


def stack_schema() -> dict[str, Any]:
    """Schema of Pulumi.<stack>.yaml: a site, a stage and encrypted secrets."""
    secure = {
        "type": "object",
        "properties": {"secure": {"type": "string", "description": "Written by `./lyceum secrets set`."}},
        "required": ["secure"],
        "additionalProperties": False,
    }
    ours: dict[str, Any] = {
        "lyceum:site": {"type": "string", "description": "Name of the site: a file in config/sites."},
        "lyceum:stage": {"enum": list(STAGES), "description": "How much of the site is in service."},
        "lyceum:cluster-ca": {"type": "string", "description": "SHA-256 of the running cluster's CA; set by Lyceum."},
        "lyceum:out-of-service": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Machines that `./lyceum node remove` took away.",
        },
        f"lyceum:{SETTING}": {
            "type": "object",
            "description": "Generations of K3s's tokens; set by `./lyceum secrets rotate`.",
        },
        **{f"lyceum:{name}": secure for name in NAMES},
    }
    return {
        "$schema": DRAFT,
        "title": "A stack: a site at a stage",
        "type": "object",
        "required": ["config"],
        "properties": {
            "config": {
                "type": "object",
                "required": ["lyceum:site", "lyceum:stage"],
                "properties": ours,
                "propertyNames": {"not": {"pattern": f"^lyceum:(?!({'|'.join(key[7:] for key in ours)})$)"}},
            },
            "encryptionsalt": {"type": "string"},
            "encryptedkey": {"type": "string"},
            "secretsprovider": {"type": "string"},
            "environment": {"type": "array", "items": {"type": "string"}},
        },
        "additionalProperties": False,
    }


def files() -> dict[Path, str]:
    """Every generated file with the content that it should have."""
    return {
        SITE_SCHEMA: _written(site_schema()),
        STACK_SCHEMA: _written(stack_schema()),
        REFERENCE: reference(),
    }


def _written(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Writes every generated file."""
    for path, content in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()

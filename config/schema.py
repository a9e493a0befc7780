"""JSON Schema of site and stack files, for editors; generated from the model. `python -m config.schema` writes it."""

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from pydantic_core import CoreSchema

from config.layer_reference import render_layer_reference
from config.paths import PROJECT, SITES
from config.reference import render_reference
from config.required_secrets import SECRET_NAMES
from config.site import STAGES, Site
from config.tokens import SETTING

SITE_SCHEMA = SITES / "site.schema.json"
STACK_SCHEMA = SITES / "stack.schema.json"
LAYER_REFERENCE = PROJECT / "docs" / "reference" / "layers.md"
REFERENCE = PROJECT / "docs" / "reference" / "site.md"
DRAFT = "https://json-schema.org/draft/2020-12/schema"


class _SchemaWithoutTitles(GenerateJsonSchema):
    """Leaves out titles, which only repeat the names."""

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
    schema = Site.model_json_schema(by_alias=True, schema_generator=_SchemaWithoutTitles)
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
            "description": "Machines that `./lyceum node remove` removed.",
        },
        f"lyceum:{SETTING}": {
            "type": "object",
            "description": "Generations of K3s's tokens; set by `./lyceum secrets rotate`.",
        },
        **{f"lyceum:{name}": secure for name in SECRET_NAMES},
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


def generated_files() -> dict[Path, str]:
    """Every generated file with the content that it should have."""
    return {
        SITE_SCHEMA: _format_json(site_schema()),
        STACK_SCHEMA: _format_json(stack_schema()),
        REFERENCE: render_reference(),
        LAYER_REFERENCE: render_layer_reference(),
    }


def _format_json(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write_generated_files() -> None:
    """Writes every generated file."""
    for path, content in generated_files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    write_generated_files()

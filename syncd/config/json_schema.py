"""The JSON Schema of the config files, for editors: draft-07, which they understand.

Made from the models that validate, so that it knows every key they know. It is looser
on purpose where a rule needs more than one place to look at; `syncd check` decides.
A value may always be a `${SYNCD_…}` that is filled in later.
"""

import json
from typing import Any, cast

from pydantic.json_schema import (
    GenerateJsonSchema,
    JsonSchemaValue,
    models_json_schema,
)
from pydantic_core import core_schema

from syncd.config.schema import CronShape, Document

SCHEMA = "http://json-schema.org/draft-07/schema#"
DURATION = r"^(\d{1,9}(ms|[smhdw]))+$"
SHARE = r"^\d{1,6}(\.\d{1,3})?%$"
BUDGET = r"^[1-9]\d{0,5}/(day|week|month)$"
ADDRESS = r"^(\[[^\]]*\]|[^:\[\]]+):\d{1,5}$"
REFERENCE = r"\$\{SYNCD_[A-Z0-9_]+"

_BY_CLASS: dict[str, JsonSchemaValue] = {
    "Budget": {"type": "string", "pattern": BUDGET},
    "Listen": {"type": "string", "pattern": ADDRESS},
    "Once": {"const": "once"},
    "Manual": {"const": "manual"},
    # What a text may say is told by `check`; the words alone are too many.
    "Every": {"type": "string", "examples": ["hourly", "every 90m", "every 1h at :10"]},
    "Cron": {"$ref": f"#/definitions/{CronShape.__name__}"},
}
"""Values that are not maps in the files, by the class they become."""
_LIMITS: dict[str, str] = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum"}
_INCLUDE = {
    "description": "More files, or patterns for them; relative to this one.",
    "type": "array",
    "items": {"type": "string"},
}


def text() -> str:
    """The schema as the file that is shipped beside the examples."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def document() -> dict[str, Any]:
    """The schema of a whole file, and of one that another file includes."""
    shapes = [(shape, "validation") for shape in (Document, CronShape)]
    _, made = models_json_schema(
        cast(Any, shapes),
        by_alias=True,
        ref_template="#/definitions/{model}",
        schema_generator=_Written,
    )
    definitions = {name: _tidy(each) for name, each in made["$defs"].items()}
    root = definitions.pop(Document.__name__)
    root["properties"]["include"] = _INCLUDE
    # A file that is included may leave it to the first one.
    root["required"].remove("version")
    if not root["required"]:
        del root["required"]
    return {
        "$schema": SCHEMA,
        "title": "syncd",
        **root,
        "definitions": dict(sorted(definitions.items())),
    }


def _tidy(node: Any) -> Any:
    """In the words of draft-07, without what only repeats the key's name."""
    match node:
        case list():
            return [_tidy(item) for item in node]
        case {"properties": dict(properties), **rest}:
            found = _tidy(rest)
            found["properties"] = {key: _tidy(each) for key, each in properties.items()}
            return found
        case dict():
            kept: dict[str, Any] = {
                _LIMITS.get(str(key), str(key)): value
                if key == "default"
                else _tidy(value)
                for key, value in node.items()
                if key not in ("title", "discriminator")
                and not _says_nothing(key, value)
            }
            return _or_reference(kept)
        case _:
            return node


def _says_nothing(key: str, value: Any) -> bool:
    """A default that is left to `defaults:`, or is a map of such."""
    return key == "default" and (value is None or isinstance(value, dict))


def _or_reference(leaf: dict[str, Any]) -> dict[str, Any]:
    """A value that plain text does not fit may still be filled in from a variable."""
    strict = leaf.get("type") in ("integer", "boolean") or "enum" in leaf
    if not strict and not (leaf.get("type") == "string" and "pattern" in leaf):
        return leaf
    default = {"default": leaf.pop("default")} if "default" in leaf else {}
    return {"anyOf": [leaf, {"type": "string", "pattern": REFERENCE}], **default}


class _Written(GenerateJsonSchema):
    """How values stand in the files; pydantic's own would say what they become."""

    def timedelta_schema(self, schema: core_schema.TimedeltaSchema) -> JsonSchemaValue:
        return {"type": "string", "pattern": DURATION}

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return {"type": "string", "pattern": SHARE}

    def tuple_schema(self, schema: core_schema.TupleSchema) -> JsonSchemaValue:
        return {"type": "string"}  # a path of keys

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        return dict(_BY_CLASS.get(schema["cls"].__name__, {}))

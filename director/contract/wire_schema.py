"""WireSchemas: what JSON Schema (2020-12) says of wire structs, for the documents that tell clients of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

REF = "#/components/schemas/{name}"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class WireSchemas:
    """The schema of each shape that was asked for, and the named ones that they refer to."""

    of: Mapping[Any, Json]
    named: Mapping[str, Json]


def schemas_asked(shapes: Sequence[Any]) -> WireSchemas:
    """The schemas of what clients send: fields with a default may be left out."""
    each = list(dict.fromkeys(shapes))
    found, named = msgspec.json.schema_components(each, ref_template=REF)
    of = dict(zip(each, found, strict=True))
    return WireSchemas(of, {name: _tidy(schema) for name, schema in named.items()})


def schemas_told(shapes: Sequence[Any]) -> WireSchemas:
    """The schemas of what clients are sent: every field is there but those that may be unset, and `ok` is what it
    always is."""
    asked = schemas_asked(shapes)
    return WireSchemas(asked.of, {name: _as_told(schema) for name, schema in asked.named.items()})


def _tidy(schema: Json) -> Json:
    about = schema.get("description")
    return schema if about is None else {**schema, "description": " ".join(about.split())}


def _as_told(schema: Json) -> Json:
    if "properties" not in schema:
        return schema
    always = set(schema.get("required", ()))
    fields = {}
    for name, field in schema["properties"].items():
        fields[name] = {key: value for key, value in field.items() if key != "default"}
        if "default" in field:
            always.add(name)
            if name == "ok":
                fields[name] = {"const": field["default"]}
    required = [name for name in fields if name in always]
    return {**schema, "properties": fields, "required": required}

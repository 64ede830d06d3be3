"""HttpDocument: what a process answers over HTTP, as an OpenAPI 3.1 document made from its wire structs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from director.contract.errors import ErrorCode, ErrorShape
from director.contract.wire_schema import Json, schemas_asked, schemas_told

JSON = "application/json"

_IN_PATH = re.compile(r"{(\w+)}")
_SENT_BACK_LATER = (429, 503)


@dataclass(frozen=True, slots=True)
class Asked:
    """A field of the query; `shape` is a type that msgspec knows."""

    name: str
    about: str
    shape: Any = str
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """A successful answer: JSON of one of the `shapes`, types that msgspec knows, or text of another media type; None:
    no body. `headers` are those that it has besides, and what they say."""

    about: str
    shapes: tuple[Any, ...] = ()
    media_type: str | None = JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. `who` are the document's schemes of which one lets somebody ask; with `is_open_too` it
    may be asked without any, as it may where there are none."""

    method: str
    path: str
    about: str
    told: tuple[Told, ...]
    asked: tuple[Asked, ...] = ()
    body: Any = None
    may_lack_body: bool = False
    refusals: tuple[ErrorCode, ...] = ()
    who: tuple[str, ...] = ()
    is_open_too: bool = False


@dataclass(frozen=True, slots=True)
class HttpDocument:
    """All endpoints of a process. `in_paths` are the shapes of the names in the paths' braces, `schemes` the ways to
    say who one is, as OpenAPI wants them; `also` are shapes that are told, but not as an answer's JSON."""

    title: str
    version: str
    about: str
    endpoints: Sequence[Endpoint]
    in_paths: Mapping[str, Any]
    schemes: Mapping[str, Json]
    also: Sequence[Any] = ()

    def openapi(self) -> Json:
        """The document; raises ValueError if two shapes that differ have one name."""
        answers = [shape for end in self.endpoints for told in end.told for shape in told.shapes]
        told = schemas_told([ErrorShape, *answers, *self.also])
        bodies = [end.body for end in self.endpoints if end.body is not None]
        asked = schemas_asked(
            [*bodies, *self.in_paths.values(), *(it.shape for end in self.endpoints for it in end.asked)]
        )
        named = dict(told.named)
        for name, schema in asked.named.items():
            if named.setdefault(name, schema) != schema:
                raise ValueError(f"two shapes are called {name}")
        paths: dict[str, Json] = {}
        for end in self.endpoints:
            paths.setdefault(end.path, {})[end.method.lower()] = self._operation(end, told=told.of, asked=asked.of)
        return {
            "openapi": "3.1.0",
            "info": {"title": self.title, "version": self.version, "description": self.about},
            "servers": [{"url": "/"}],
            "paths": paths,
            "components": {"schemas": dict(sorted(named.items())), "securitySchemes": dict(self.schemes)},
        }

    def _operation(self, end: Endpoint, *, told: Mapping[Any, Json], asked: Mapping[Any, Json]) -> Json:
        answers = {str(answer.status): _answer(answer, told) for answer in end.told}
        operation: Json = {
            "operationId": _id_of(end),
            "summary": end.about,
            "parameters": [*self._path_fields(end, asked), *_query_fields(end, asked)],
            "responses": answers | _refusals(end),
            "security": [{name: []} for name in end.who] + ([{}] if end.is_open_too else []),
        }
        if end.body is not None:
            operation["requestBody"] = {
                "required": not end.may_lack_body,
                "content": {JSON: {"schema": asked[end.body]}},
            }
        return operation

    def _path_fields(self, end: Endpoint, asked: Mapping[Any, Json]) -> list[Json]:
        return [
            {"name": name, "in": "path", "required": True, "schema": asked[self.in_paths[name]]}
            for name in _IN_PATH.findall(end.path)
        ]


def _query_fields(end: Endpoint, asked: Mapping[Any, Json]) -> list[Json]:
    return [
        {
            "name": it.name,
            "in": "query",
            "required": it.is_required,
            "description": it.about,
            "schema": asked[it.shape],
        }
        for it in end.asked
    ]


def _answer(answered: Told, told: Mapping[Any, Json]) -> Json:
    answer: Json = {"description": answered.about}
    if answered.media_type is not None:
        either = [told[shape] for shape in answered.shapes] or [{"type": "string"}]
        answer["content"] = {answered.media_type: {"schema": either[0] if len(either) == 1 else {"oneOf": either}}}
    if answered.headers:
        answer["headers"] = {
            name: {"description": about, "required": True, "schema": {"type": "string"}}
            for name, about in answered.headers.items()
        }
    return answer


def _refusals(end: Endpoint) -> dict[str, Json]:
    by_status = groupby(sorted(end.refusals, key=lambda code: (code.http_status, code)), lambda code: code.http_status)
    return {str(status): _refusal(status, list(codes)) for status, codes in by_status}


def _refusal(status: int, codes: Sequence[ErrorCode]) -> Json:
    ref = {"$ref": "#/components/schemas/ErrorShape"}
    answer: Json = {"description": " or ".join(f"`{code}`" for code in codes), "content": {JSON: {"schema": ref}}}
    if status in _SENT_BACK_LATER:
        about = "Whole seconds after which to ask again."
        answer["headers"] = {"Retry-After": {"description": about, "required": True, "schema": {"type": "integer"}}}
    return answer


def _id_of(end: Endpoint) -> str:
    """Like `get_rooms_room`: generators of clients make names of it."""
    return "_".join([end.method.lower(), *re.findall(r"\w+", end.path)])

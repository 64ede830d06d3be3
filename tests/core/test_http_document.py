"""The OpenAPI documents: what they are made of, and that they list what the processes answer."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import jsonschema_rs
import msgspec
import pytest
from msgspec import UNSET, Meta, UnsetType
from starlette.routing import BaseRoute, Route

import director.openapi
import shard_node.openapi
from director.app import build_app
from director.contract.errors import ErrorCode
from director.contract.http_document import Asked, Endpoint, HttpDocument, Told
from director.contract.wire_schema import schemas_asked, schemas_told
from director.settings import DirectorSettings
from shard_node.health import health_app
from shard_node.room_messages import RoomMessages


class Cup(msgspec.Struct, frozen=True):
    """A cup
    of tea."""

    size: int
    sugar: int = 0
    milk: bool | UnsetType = UNSET
    ok: bool = True


class Order(msgspec.Struct, frozen=True):
    size: Annotated[int, Meta(ge=1)]
    sugar: int = 0


def document(*endpoints: Endpoint) -> dict[str, Any]:
    return HttpDocument(
        title="tea",
        version="1",
        about="about tea",
        endpoints=endpoints,
        in_paths={"pot": str},
        schemes={"guest": {"type": "http", "scheme": "bearer"}},
        also=(Cup,),
    ).openapi()


def test_what_is_told_has_every_field_but_those_that_may_be_unset() -> None:
    told = schemas_told([Cup, int])
    assert told.of[Cup] == {"$ref": "#/components/schemas/Cup"}
    assert told.of[int] == {"type": "integer"}
    schema = told.named["Cup"]
    assert schema["required"] == ["size", "sugar", "ok"]
    assert schema["properties"]["sugar"] == {"type": "integer"}
    assert schema["properties"]["ok"] == {"const": True}
    assert schema["description"] == "A cup of tea."


def test_what_is_asked_may_lack_what_has_a_default() -> None:
    schema = schemas_asked([Order, Order]).named["Order"]
    assert schema["required"] == ["size"]
    assert schema["properties"]["sugar"]["default"] == 0


def test_an_endpoint_says_who_may_ask_what_and_what_comes_back() -> None:
    made = document(
        Endpoint(
            "PUT",
            "/pots/{pot}/cup",
            "Pour.",
            (Told("The cup.", (Cup,), headers={"ETag": "Which."}), Told("Later.", (), None, 202)),
            asked=(Asked("lid", "open or not", bool),),
            body=Order,
            refusals=(ErrorCode.BUSY, ErrorCode.BAD_REQUEST, ErrorCode.NO_NODES),
            who=("guest",),
            is_open_too=True,
        ),
        Endpoint(
            "GET", "/pots/{pot}/cup", "Look.", (Told("One of them.", (Cup, dict)), Told("A page.", (), "x/y", 203))
        ),
    )
    assert list(made["paths"]) == ["/pots/{pot}/cup"]
    put, get = made["paths"]["/pots/{pot}/cup"]["put"], made["paths"]["/pots/{pot}/cup"]["get"]
    assert put["operationId"] == "put_pots_pot_cup"
    assert [(field["name"], field["in"], field["required"]) for field in put["parameters"]] == [
        ("pot", "path", True),
        ("lid", "query", False),
    ]
    assert put["requestBody"]["required"]
    assert put["security"] == [{"guest": []}, {}]
    assert list(put["responses"]) == ["200", "202", "400", "503"]
    assert "content" not in put["responses"]["202"]
    assert put["responses"]["200"]["headers"]["ETag"]["required"]
    assert put["responses"]["503"]["description"] == "`BUSY` or `NO_NODES`"
    assert list(put["responses"]["503"]["headers"]) == ["Retry-After"]
    assert "headers" not in put["responses"]["400"]
    assert get["security"] == []
    assert "requestBody" not in get
    assert [len(it["content"]["application/json"]["schema"].get("oneOf", ())) for it in [get["responses"]["200"]]] == [
        2
    ]
    assert get["responses"]["203"]["content"] == {"x/y": {"schema": {"type": "string"}}}


def test_two_shapes_of_one_name_are_not_told_apart_by_guessing() -> None:
    class Cup(msgspec.Struct):
        handle: bool

    with pytest.raises(ValueError, match="two shapes are called Cup"):
        document(Endpoint("POST", "/cup", "Pour.", (), body=Cup))


@pytest.mark.parametrize("made", [director.openapi.DOCUMENT, shard_node.openapi.DOCUMENT])
def test_every_reference_in_a_document_leads_somewhere(made: HttpDocument) -> None:
    openapi = made.openapi()
    schemas = openapi["components"]["schemas"]
    for name in schemas:
        jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{name}", "components": openapi["components"]})
    assert {ref.removeprefix("#/components/schemas/") for ref in _refs(openapi)} <= set(schemas)
    schemes = {
        name
        for methods in openapi["paths"].values()
        for it in methods.values()
        for who in it["security"]
        for name in who
    }
    assert schemes == set(openapi["components"]["securitySchemes"])


def test_the_director_s_document_lists_what_the_director_answers(tmp_path: Path) -> None:
    app = build_app(DirectorSettings(demo=True, data=tmp_path))
    assert _listed(director.openapi.DOCUMENT) == _answered(app.routes)


def test_the_node_s_document_lists_what_a_node_answers() -> None:
    messages = RoomMessages(None, beside="/socket.io/")  # type: ignore[arg-type]  # nobody asks
    routes = (*messages.routes, *shard_node.openapi.document_routes())
    app = health_app(lease=None, unready=None, figures=None, routes=routes)  # type: ignore[arg-type]
    assert _listed(shard_node.openapi.DOCUMENT) == _answered(app.routes)


def test_history_is_beside_the_node_s_path() -> None:
    paths = {beside: RoomMessages(None, beside=beside).routes[0].path for beside in _BESIDE}  # type: ignore[arg-type]
    assert paths == _BESIDE


_BESIDE = {
    "/socket.io/": "/rooms/{room}/messages",
    "/n/node-2/socket.io/": "/n/node-2/rooms/{room}/messages",
    "/chat/": "/rooms/{room}/messages",
}


def _listed(made: HttpDocument) -> set[tuple[str, str]]:
    return {(method.upper(), path) for path, methods in made.openapi()["paths"].items() for method in methods}


def _answered(routes: Iterable[BaseRoute]) -> set[tuple[str, str]]:
    """All but files, and what HTTP adds by itself."""
    return {
        (method, route.path)
        for route in routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD", "OPTIONS"}
    }


def _refs(part: Any) -> Iterable[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for it in part:
            yield from _refs(it)

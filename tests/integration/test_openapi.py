"""The director's OpenAPI document and a running director say the same. Schemathesis asks, with bounded examples that
are the same each time; each answer must have a status, a media type, headers and a shape that the document names."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import load_all_checks
from schemathesis.generation import GenerationMode

from director.openapi import DOCUMENT
from tests.support.halls import hall_on, lease_of
from tests.support.valkey_server import ValkeyServer, free_port, valkey

pytestmark = pytest.mark.timeout(180)

ADMIN = {"Authorization": "Bearer the-operators-token"}
START_WITHIN = 30.0
EXAMPLES = 12
LONG = 3_600.0
EVENTS = ("GET", "/admin/events")  # it does not end: asked by a test of its own
NODES, ROOM = ("node-1", "node-2", "node-3"), "math-101"
NEXT_YEAR_MS = 1_830_000_000_000

bounded = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def strict_document() -> dict[str, Any]:
    """The document as we mean it: what it does not name is not there. (To clients it says that more may come.)"""
    document: dict[str, Any] = json.loads(json.dumps(DOCUMENT.openapi()))
    for schema in document["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return document


STRICT = strict_document()
SCHEMA = schemathesis.openapi.from_dict(STRICT)
load_all_checks()
CHECKS = [
    schemathesis.checks.CHECKS.get_one(name)
    for name in (
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    )
]
OPERATIONS = [
    (method.upper(), path) for path, methods in STRICT["paths"].items() for method in methods if path != EVENTS[1]
]


@dataclass(frozen=True, slots=True)
class Running:
    """A director of its own process, with three nodes that hold leases and answer nobody."""

    url: str

    def ask(self, case: Any, headers: Mapping[str, str] = ADMIN) -> Any:
        """Send the case, and hold the answer against the document."""
        response = case.call(base_url=self.url, headers=dict(headers), allow_redirects=False, timeout=20)
        case.validate_response(response, checks=CHECKS)
        return response


async def _put_leases(server: ValkeyServer) -> None:
    async with hall_on(server) as hall:
        for node in NODES:
            await hall.leases.acquire(lease_of(node), expire=LONG)


def _until(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the director is ready, and has placed the room."""

    async def ready() -> None:
        async with asyncio.timeout(START_WITHIN), httpx.AsyncClient(base_url=url, trust_env=False) as http:
            while process.poll() is None:
                try:
                    asked = [await http.get("/readyz"), await http.get("/route", params={"room": ROOM})]
                    if all(answer.status_code == 200 for answer in asked):
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)  # nobody tells
            raise AssertionError(f"the director ended with {process.returncode}")

    asyncio.run(ready())


@pytest.fixture(scope="module")
def director(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that may be asked anything."""
    with running_director(tmp_path_factory.mktemp("director")) as director:
        yield director


@pytest.fixture
def fresh_director(tmp_path: Path) -> Iterator[Running]:
    """One that nobody has asked for anything."""
    with running_director(tmp_path) as director:
        yield director


@contextmanager
def running_director(folder: Path) -> Iterator[Running]:
    port = free_port()
    with valkey() as server, (folder / "log").open("wb") as log:
        asyncio.run(_put_leases(server))
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HALL_")}
        url = f"http://127.0.0.1:{port}"
        own = {
            "HALL_DEMO": "1",
            "HALL_DATA": str(folder),
            "HALL_REDIS_URL": server.url,
            "HALL_DIRECTOR_PORT": str(port),
            "HALL_DIRECTOR_URL": url,
            "HALL_ADMIN_TOKEN": "the-operators-token",
        }
        process = subprocess.Popen([sys.executable, "-m", "director.app"], env=clean | own, stderr=log)
        try:
            _until(url, process)
            yield Running(url)
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_whatever_is_asked_the_answer_is_one_that_the_document_names(director: Running, method: str, path: str) -> None:
    operation = SCHEMA[path][method]
    is_for_operators = any("admin_token" in who for who in STRICT["paths"][path][method.lower()]["security"])

    @bounded
    @given(case=st.one_of(operation.as_strategy(), operation.as_strategy(path_parameters=_known_in(path))))
    def ask(case: Any) -> None:
        director.ask(case)
        if is_for_operators and path.startswith("/admin/"):
            assert director.ask(case, headers={}).status_code == 401

    ask()


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, path) for method, path in OPERATIONS if "requestBody" in STRICT["paths"][path][method.lower()]],
)
def test_a_body_of_another_shape_is_refused_in_the_error_shape(director: Running, method: str, path: str) -> None:
    operation = SCHEMA[path][method]
    body = STRICT["paths"][path][method.lower()]["requestBody"]["content"]["application/json"]["schema"]
    takes = jsonschema_rs.validator_for({**body, "components": STRICT["components"]})

    @bounded
    @given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def ask(case: Any) -> None:
        response = director.ask(case)
        assert response.status_code >= 400 or takes.is_valid(json.loads(response.request.body or b"{}"))

    ask()


def _known_in(path: str) -> dict[str, str]:
    """For the names in the path's braces, such as there are."""
    known = {"node": "node-3", "room": ROOM, "operation": "drain-node-3"}
    return {name: known[name] for name in known if f"{{{name}}}" in path}


def _day(owner: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What operators and clients do: each operation at least once, such that it is done."""
    other, third = (name for name in NODES if name != owner)
    free, node, room = {"node": other}, {"node": third}, {"room": ROOM}
    yield "GET", "/route", {"query": {"room": ROOM, "role": "student"}}
    yield "GET", "/rooms/{room}", {"path_parameters": room, "query": {"role": "lecturer"}}
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/", "/operations"):
        yield "GET", path, {}
    yield "POST", "/admin/session", {"body": {"token": "the-operators-token"}}
    yield "GET", "/admin/session", {}
    yield "DELETE", "/admin/session", {}
    yield "GET", "/admin/nodes", {}
    yield "GET", "/admin/rooms", {"query": {"prefix": "math", "limit": 1}}
    yield "GET", "/admin/rooms/{room}", {"path_parameters": room}
    yield "PUT", "/admin/nodes/{node}/capacity", {"path_parameters": free, "body": {"share": 1.5}}
    yield "POST", "/admin/nodes/{node}/cordon", {"path_parameters": node}
    yield "POST", "/admin/nodes/{node}/uncordon", {"path_parameters": node}
    yield "POST", "/admin/nodes/{node}/drain", {"path_parameters": node, "body": {"plan": True}}
    yield "POST", "/admin/nodes/{node}/drain", {"path_parameters": node, "body": {}}
    yield "DELETE", "/admin/nodes/{node}/drain", {"path_parameters": node}
    yield "PUT", "/admin/rooms/{room}/pin", {"path_parameters": room, "body": {"node": other}}
    yield "GET", "/admin/rooms", {}
    yield "DELETE", "/admin/rooms/{room}/pin", {"path_parameters": room}
    announced = {"members": 3000, "at_ms": NEXT_YEAR_MS, "minutes": 90}
    yield "PUT", "/admin/rooms/{room}/reservations", {"path_parameters": room, "body": announced}
    yield "GET", "/admin/reservations", {}
    yield "DELETE", "/admin/rooms/{room}/reservations", {"path_parameters": room, "query": {"at_ms": NEXT_YEAR_MS}}
    yield "POST", "/admin/rebalance", {"body": {"plan": True}}
    yield "POST", "/admin/rooms/{room}/move", {"path_parameters": room, "body": {"to": other, "plan": True}}
    yield "POST", "/admin/rooms/{room}/move", {"path_parameters": room, "body": {"to": other}}
    yield "GET", "/admin/operations", {}
    yield "GET", "/admin/operations/{operation}", {"path_parameters": {"operation": "?"}}
    yield "DELETE", "/admin/operations/{operation}", {"path_parameters": {"operation": "?"}}
    yield "GET", "/admin/rooms/{room}", {"path_parameters": room}
    yield "POST", "/admin/failover/resume", {}


def test_what_is_done_is_answered_as_the_document_says(fresh_director: Running) -> None:
    """Every operation answers 200 once, and what it tells has just the fields that the document names."""
    director = fresh_director
    owner = httpx.get(f"{director.url}/route", params={"room": ROOM}, trust_env=False).json()["node"]
    done, started = set(), ""
    for method, path, asked in _day(owner):
        if "operation" in asked.get("path_parameters", {}):
            asked = {"path_parameters": {"operation": started}}
        if "body" in asked:
            asked = {**asked, "media_type": "application/json"}
        response = director.ask(SCHEMA[path][method].Case(**asked))
        assert response.status_code == 200, (method, path, response.text)
        if method == "POST" and path.endswith("/move"):
            started = response.json().get("operation", "")
        done.add((method, path))
    assert done == set(OPERATIONS)


def test_the_redirect_for_people_is_as_the_document_says(director: Running) -> None:
    case = SCHEMA["/route"]["GET"].Case(query={"room": ROOM, "redirect": "1"})
    assert director.ask(case).status_code == 307


async def test_what_the_stream_tells_has_the_shapes_of_the_document(director: Running) -> None:
    picture = {"$ref": "#/components/schemas/FleetPicture", "components": STRICT["components"]}
    async with (
        asyncio.timeout(30),
        httpx.AsyncClient(base_url=director.url, trust_env=False, timeout=30) as http,
        http.stream("GET", EVENTS[1], headers=ADMIN) as answer,
    ):
        told = STRICT["paths"][EVENTS[1]]["get"]["responses"]["200"]["content"]
        assert answer.headers["content-type"] in told
        event = ""
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            if line.startswith("data: ") and event == "fleet":
                jsonschema_rs.validate(picture, json.loads(line.removeprefix("data: ")))
                return


def test_the_document_is_served(director: Running, tmp_path: Path) -> None:
    served = httpx.get(f"{director.url}/openapi.json", trust_env=False)
    assert served.json() == json.loads(json.dumps(DOCUMENT.openapi()))

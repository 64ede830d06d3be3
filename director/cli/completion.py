"""Completion: names of nodes and rooms for the shell, asked from the director while the operator types.

A director that is not there, or takes longer than a moment, completes nothing; nothing is ever said about it.
"""

import os
from pathlib import Path

import typer

_WITHIN = 0.7
_MAX_ROOMS = 100


def node_names(ctx: typer.Context) -> list[str]:
    """The names of nodes; typer picks those that begin so."""
    return _names(ctx, "/admin/nodes", {}, listed="nodes", field="node")


def room_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The names of rooms that begin so, a hundred at most."""
    query: dict[str, str | int] = {"limit": _MAX_ROOMS}
    if incomplete:
        query["prefix"] = incomplete
    return _names(ctx, "/admin/rooms", query, listed="rooms", field="room")


def operation_names(ctx: typer.Context) -> list[str]:
    """The ids of the latest operations; typer picks those that begin so."""
    return _names(ctx, "/admin/operations", {}, listed="operations", field="id")


def _names(ctx: typer.Context, path: str, query: dict[str, str | int], *, listed: str, field: str) -> list[str]:
    import msgspec

    from director.cli.director_call import AdminCall, DirectorRefused, NoDirector, NoToken, operators_token

    director = _said(ctx, "director", "HALL_DIRECTOR_URL", "http://127.0.0.1:8000")
    given = _said(ctx, "token", "HALL_ADMIN_TOKEN", "")
    data = Path(_said(ctx, "data", "HALL_DATA", ".hall"))
    try:
        with AdminCall(director, operators_token(given, data), within=_WITHIN) as call:
            answer = call.ask("GET", path, dict[str, msgspec.Raw], query=query)
        found = msgspec.json.decode(answer.get(listed, b"[]"), type=list[dict[str, msgspec.Raw]])
        return [msgspec.json.decode(it[field], type=str) for it in found if field in it]
    except (NoToken, NoDirector, DirectorRefused, msgspec.MsgspecError):
        return []


def _said(ctx: typer.Context, name: str, variable: str, default: str) -> str:
    """What an option that was typed before says, else the environment: a line that is not finished has no defaults."""
    return str(ctx.params.get(name) or os.environ.get(variable) or default)

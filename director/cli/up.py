"""`hall up`: a whole fleet on this machine, kept running until it is told to end.

An embedded Redis-compatible server (or HALL_REDIS_URL), one director and N nodes over one store, all on loopback with
demo identities. A process that dies is started again; all end with this one, however it ends.
"""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from director.cli.fleet_plan import FleetPlan

_MAX_NODES = 64
_MAX_PORT = 65_535 - 1000 - _MAX_NODES
_START_WITHIN = 60.0
_REDIS_TIMEOUT = 3.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("up")(up)


def up(
    *,
    nodes: Annotated[int, typer.Option(min=1, max=_MAX_NODES, help="How many shard nodes.")] = 3,
    port: Annotated[
        int, typer.Option(min=1, max=_MAX_PORT, help="The director's port; node k gets this + 1000 + k.")
    ] = 8000,
    data: Annotated[
        Path, typer.Option(envvar="HALL_DATA", file_okay=False, help="Folder of the store, the logs and so on.")
    ] = Path(".hall"),
    public_url: Annotated[
        str,
        typer.Option(
            envvar="HALL_PUBLIC_URL",
            help="A proxy of this machine before all of them (deploy/nginx.conf), like http://127.0.0.1:8080.",
        ),
    ] = "",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show all that the processes write.")] = False,
) -> None:
    """Run a fleet on this machine: Redis, a director and shard nodes. Ctrl-C ends it."""
    import asyncio

    from director.cli.data_folder import DataFolderInUse
    from director.cli.fleet_run import CannotStart, FleetRun
    from director.cli.screen import Screen
    from director.embedded_redis import NoServerBinary
    from director.held_port import PortInUse

    try:
        with ExitStack() as held:
            plan = _plan(data, nodes=nodes, port=port, public_url=_local_origin(public_url), held=held)
            asyncio.run(_prepare_store(plan.store_url))
            run = FleetRun(plan, Screen(verbose=verbose))
            asyncio.run(run.until_told(start_within=_START_WITHIN))
    except DataFolderInUse as error:
        _fail(f"{error}. End that one, or choose another folder with --data.")
    except PortInUse as error:
        _fail(f"{error}. End that process, or choose other ports with --port (make up PORT=...).")
    except (NoServerBinary, CannotStart) as error:
        _fail(str(error))


def _local_origin(url: str) -> str:
    """`url` if it is empty or an origin of this machine: this fleet lets everybody be anybody."""
    from urllib.parse import urlsplit

    parts = urlsplit(url.rstrip("/"))
    if url and (parts.scheme not in ("http", "https") or parts.path or parts.query or not parts.netloc):
        _fail(f"--public-url takes an origin like http://127.0.0.1:8080, without a path; got {url}")
    if url and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        _fail(f"everybody may be anybody here, so the proxy must be on this machine's loopback, not {parts.hostname}")
    return url.rstrip("/")


def _plan(data: Path, *, nodes: int, port: int, public_url: str, held: ExitStack) -> "FleetPlan":
    """The plan, with the data folder's lock and all ports held until `held` is closed."""
    import asyncio

    from director.cli.data_folder import DataFolder
    from director.cli.fleet_plan import FleetPlan, node_port
    from director.embedded_redis import EmbeddedRedis, server_binary
    from director.held_port import HeldPort

    try:
        folder = held.enter_context(DataFolder(data))
    except OSError as error:
        _fail(f"cannot use the data folder {data}: {error}. Choose another with --data.")
    for number in (port, *(node_port(port, node) for node in range(1, nodes + 1))):
        held.enter_context(HeldPort(number))
    redis_url = os.environ.get("HALL_REDIS_URL", "")
    embedded = None
    if redis_url:
        asyncio.run(_check_redis(redis_url))
    else:
        embedded = EmbeddedRedis(server_binary(), held.enter_context(HeldPort()).port, folder.path / "redis")
        embedded.prepare()
        redis_url = embedded.url
    store_url = os.environ.get("HALL_STORE_URL") or folder.store_url
    plan = FleetPlan(folder, nodes, port, embedded, redis_url, store_url, public_url)
    folder.sign(f"process {os.getpid()}, {plan.director_url}")
    return plan


async def _prepare_store(url: str) -> None:
    """A file is brought to this release's schema; a server's schema is changed by nobody but an operator."""
    from persistence.contract.store import StoreUnavailable
    from persistence.engines import sqlite_file_of
    from persistence.migrate import SchemaTooNew, schema_problem, upgrade

    try:
        if sqlite_file_of(url) is not None:
            await upgrade(url)
        elif (problem := await schema_problem(url)) is not None:
            _fail(problem)
    except (SchemaTooNew, StoreUnavailable, ValueError) as error:
        _fail(f"{error} (HALL_STORE_URL or --data say where the store is)")


async def _check_redis(url: str) -> None:
    from secrets import token_bytes

    from director.contract.errors import ControlPathUnavailable
    from director.redis_client import HallRedis

    try:
        redis = HallRedis(url, random_bytes=token_bytes, silence=_REDIS_TIMEOUT)
        async with redis.asked() as client:
            await client.ping()
        await redis.close()
    except (ControlPathUnavailable, ValueError) as error:
        # the URL may carry a password: it is named, not shown
        _fail(f"the server of HALL_REDIS_URL does not answer: {error}. Start it, or unset HALL_REDIS_URL.")


def _fail(words: str) -> NoReturn:
    typer.secho(f"hall up: {words}", fg="red", err=True)
    raise typer.Exit(1)

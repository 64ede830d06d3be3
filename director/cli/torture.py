"""`hall torture`: a fleet of its own is broken in every way while members talk, and the promises are checked."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.core.fault_plan import FaultKind
    from loadtest.small_disk import SmallDisk


_OWN_POSTGRES = "postgres"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("torture")(torture)


def torture(
    *,
    faults: Annotated[
        str, typer.Option("--faults", help="What to break, with commas between; else all there is.")
    ] = "",
    minutes: Annotated[float, typer.Option("--minutes", min=0.2, help="How long it is broken.")] = 5.0,
    seed: Annotated[int, typer.Option("--seed", help="For the schedule and for what members do.")] = 1,
    rooms: Annotated[int, typer.Option("--rooms", min=1, max=64, help="In how many rooms.")] = 12,
    members: Annotated[int, typer.Option("--members", min=1, max=4000, help="Members in all.")] = 72,
    rate: Annotated[float, typer.Option("--rate", min=0.1, help="Messages a second in each room.")] = 2.0,
    store: Annotated[
        str | None,
        typer.Option(
            "--store", help="A store's URL, or `postgres` for a server of its own; else a SQLite file of its own."
        ),
    ] = None,
    once: Annotated[
        bool,
        typer.Option("--once", help="To measure: each fault once, in the order given, far apart; tell its figures."),
    ] = False,
    lasts: Annotated[
        float | None, typer.Option("--lasts", min=0.1, help="With --once: seconds that each fault lasts.")
    ] = None,
    one_node: Annotated[
        bool, typer.Option("--one-node", help="All rooms on one node, the one that --once breaks.")
    ] = False,
    restart_after: Annotated[
        float, typer.Option("--restart-after", min=0.2, help="Seconds until a dead process is started again.")
    ] = 0.2,
    keep: Annotated[
        Path | None, typer.Option("--keep", file_okay=False, help="Keep histories, logs and the store here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Break a fleet of its own in every way, and prove that no promise was: exit code 0, or 1 with what was broken."""
    import asyncio
    import os
    from contextlib import ExitStack
    from shutil import rmtree
    from tempfile import mkdtemp

    from director.cli.torture_fleet import DIRECTORS, NODES, CannotStart
    from director.cli.torture_run import TortureOrder, run_torture
    from director.embedded_redis import NoServerBinary
    from director.own_postgres import NoPostgresBinaries, PostgresFailed, running_postgres
    from loadtest.core.fault_plan import plan_faults, plan_once
    from loadtest.torture_crowd import CrowdSize

    kinds = _kinds_of(faults, store)
    if once:
        plan = plan_once(kinds, seconds=minutes * 60, seed=seed, nodes=NODES, directors=DIRECTORS, lasts=lasts)
    else:
        plan = plan_faults(kinds, seconds=minutes * 60, seed=seed, nodes=NODES, directors=DIRECTORS)
    # settings of whoever runs this must not leak into the fleet
    for name in [name for name in os.environ if name.startswith("HALL_")]:
        del os.environ[name]
    folder = Path(mkdtemp(prefix="hall-torture-")) if keep is None else keep.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise typer.BadParameter(f"{folder} is not empty", param_hint="--keep")
    disk, no_disk = _disk_for(kinds, folder) if store is None else (None, "the store is not on a disk of ours")
    file = folder / "disk" / "store.sqlite3"
    file.parent.mkdir(exist_ok=True)
    try:
        with ExitStack() as stack:
            server = stack.enter_context(running_postgres()) if store == _OWN_POSTGRES else None
            order = TortureOrder(
                plan,
                CrowdSize(rooms, members, rate),
                seed,
                folder,
                server.url if server else store or f"sqlite+aiosqlite:///{file}",
                server,
                disk,
                no_disk,
                as_json,
                measure=once,
                one_node=one_node,
                restart_after=restart_after,
            )
            holds = asyncio.run(run_torture(order))
    except (NoServerBinary, NoPostgresBinaries, PostgresFailed) as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except ExceptionGroup as faults_of_ours:
        known, other = faults_of_ours.split(CannotStart)
        if known is None or other is not None:
            raise
        typer.secho(str(known.exceptions[0]), fg="red", err=True)
        raise typer.Exit(2) from None
    if disk is not None:
        disk.close()
    if keep is None and holds:
        rmtree(folder, ignore_errors=True)
    raise typer.Exit(0 if holds else 1)


def _kinds_of(faults: str, store: str | None) -> "Sequence[FaultKind]":
    """Those that were named, else all that can be had with such a store."""
    from loadtest.core.fault_plan import (
        ALL_KINDS,
        NEEDS_FILE,
        NEEDS_OWN_STORE_SERVER,
        NEEDS_STORE_SERVER,
        FaultKind,
    )

    if store == _OWN_POSTGRES:
        others = NEEDS_FILE
    elif store is None or store.startswith("sqlite"):
        others = NEEDS_STORE_SERVER | NEEDS_OWN_STORE_SERVER
    else:
        others = NEEDS_FILE | NEEDS_OWN_STORE_SERVER
    try:
        named = [FaultKind(name.strip()) for name in faults.split(",") if name.strip()]
        return named or [kind for kind in ALL_KINDS if kind not in others]
    except ValueError as error:
        raise typer.BadParameter(f"{error}; there are {', '.join(ALL_KINDS)}", param_hint="--faults") from None


def _disk_for(kinds: "Sequence[FaultKind]", folder: Path) -> "tuple[SmallDisk | None, str]":
    from loadtest.core.fault_plan import FaultKind
    from loadtest.small_disk import NoSmallDisk, SmallDisk

    if FaultKind.DISK_FULL not in kinds:
        return None, "it is not wanted"
    try:
        return SmallDisk(folder / "disk"), ""
    except NoSmallDisk as error:
        return None, str(error)

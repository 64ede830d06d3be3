"""The `hall` command. Each noun's commands stand in a module of this folder and import what they need when they run, so
that `hall --help` is there at once."""

import typer

from director.cli import (
    check,
    drains,
    export,
    failover,
    load,
    moves,
    nodes,
    operations,
    pins,
    rebalance,
    replay,
    reservations,
    room_map,
    rooms,
    settings,
    store,
    torture,
    up,
)

app = typer.Typer(
    name="hall",
    help="Live lecture halls: one command for the fleet, its rooms and its tests.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
up.register(app)
rooms.register(app)
room_map.register(app)
nodes.register(app)
moves.register(app)
drains.register(app)
rebalance.register(app)
operations.register(app)
pins.register(app)
reservations.register(app)
failover.register(app)
replay.register(app)
load.register(app)
check.register(app)
torture.register(app)
store.register(app)
export.register(app)
settings.register(app)


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()

"""The `hall` command. Each noun's commands stand in a module of this folder and import what they need when they run, so
that `hall --help` is there at once."""

import typer

from director.cli import check, export, failover, load, replay, rooms, settings, store, torture, up

app = typer.Typer(
    name="hall",
    help="Live lecture halls: one command for the fleet, its rooms and its tests.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
up.register(app)
rooms.register(app)
replay.register(app)
load.register(app)
check.register(app)
failover.register(app)
torture.register(app)
store.register(app)
export.register(app)
settings.register(app)


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()

"""The runner: `python -m tests.bench [NAMES]` runs benches one after the other, each in a process of its own.

A bench is a module of this folder with a function `main() -> dict`. Its result is written to results/NAME.json together
with the machine and the versions, and shown as a table. One that says ONLY_BY_NAME = True runs only when it is named.

    --list       the names
    --quick      try the harness with small numbers; nothing is written to results/
    --results    another folder for the results
"""

import argparse
import ast
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from tests.bench.crowd import NoCompiler
from tests.bench.figures import figures_of
from tests.bench.machine import facts
from tests.bench.results import RESULTS, Record, write

HERE = Path(__file__).parent
_WITHIN = 3600.0
_LEFT_OUT = "left_out"


def benches() -> Mapping[str, bool]:
    """The benches by name, in order; whether each runs by default. Nothing is imported to find out."""
    found = {}
    for path in sorted(HERE.glob("*.py")):
        if path.stem.startswith("_"):
            continue
        tree = ast.parse(path.read_text())
        if not any(isinstance(it, ast.FunctionDef) and it.name == "main" for it in tree.body):
            continue
        names = {
            name.id
            for it in tree.body
            if isinstance(it, ast.Assign)
            for name in it.targets
            if isinstance(name, ast.Name)
        }
        found[path.stem] = "ONLY_BY_NAME" not in names
    return found


def main(arguments: Sequence[str]) -> int:
    """Run what the command line names; 1 if a bench failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--list", action="store_true", help="show the names")
    parser.add_argument("--quick", action="store_true", help="small numbers: tries the harness, measures little")
    parser.add_argument("--results", type=Path, help="where results go (default: results/; with --quick nowhere)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    known = benches()
    if asked.list:
        print("\n".join(f"{name}{'' if default else '  (only by name)'}" for name, default in known.items()))
        return 0
    if asked.one:
        _do_one(asked.one, Path(asked.results))
        return 0
    if unknown := [name for name in asked.names if name not in known]:
        parser.error(f"there is no bench {', '.join(unknown)}; there are {', '.join(known)}")
    names = asked.names or [name for name, default in known.items() if default]
    results = asked.results or (None if asked.quick else RESULTS)
    failed = [name for name in names if not _run(name, results, quick=asked.quick)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _do_one(name: str, answer: Path) -> None:
    try:
        result = import_module(f"tests.bench.{name}").main()
    except NoCompiler as error:
        result = {_LEFT_OUT: str(error)}
    answer.write_text(json.dumps(result))


def _run(name: str, results: Path | None, *, quick: bool) -> bool:
    print(f"--- {name}", flush=True)
    began_at, machine = monotonic(), facts()
    env = {**os.environ, **({"HALL_BENCH_QUICK": "1"} if quick else {})}
    with TemporaryDirectory() as folder:
        answer = Path(folder) / "result.json"
        command = [sys.executable, "-m", "tests.bench", "--one", name, "--results", str(answer)]
        process = subprocess.Popen(command, env=env, cwd=HERE.parents[1])
        try:
            code = process.wait(timeout=_WITHIN)
        except subprocess.TimeoutExpired:
            # as Ctrl-C does, so that it ends the fleet that it has started
            process.send_signal(signal.SIGINT)
            process.wait()
            print(f"{name}: not done within {_WITHIN:.0f} s", file=sys.stderr)
            return False
        if code != 0 or not answer.exists():
            print(f"{name}: ended with {code}", file=sys.stderr)
            return False
        result = json.loads(answer.read_text())
    if _LEFT_OUT in result:
        print(f"LEFT OUT: {result[_LEFT_OUT]}\n")
        return True
    show(result)
    took = monotonic() - began_at
    print(f"({took:.0f} s)\n", flush=True)
    if results is not None:
        write(Record(name, round(took), machine, result, quick), results)
    return True


def show(result: dict[str, Any]) -> None:
    """Print what a bench's `main` returned as a table."""
    figures = figures_of(result)
    width = max([len(it.what) for it in figures], default=0)
    for it in figures:
        print(f"{it.what:<{width}}  {it.spread:>34} {it.unit:<8}{it.verdict}")
    for note in result.get("notes", ()):
        print(f"note: {note}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

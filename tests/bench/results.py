"""Results: what benches recorded, read from and written to one JSON file each."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure, figures_of

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Record:
    """One bench's recorded run."""

    bench: str
    took_seconds: int
    machine: dict[str, Any]
    result: dict[str, Any]
    quick: bool = False

    @property
    def figures(self) -> tuple[Figure, ...]:
        return figures_of(self.result)

    @property
    def runs(self) -> list[dict[str, Any]]:
        return list(self.result.get("runs", ()))


def write(record: Record, folder: Path = RESULTS) -> None:
    """Replace the bench's record."""
    folder.mkdir(parents=True, exist_ok=True)
    said = {
        "bench": record.bench,
        "quick": record.quick,
        "took_seconds": record.took_seconds,
        "machine": record.machine,
        "result": _rounded(record.result),
    }
    (folder / f"{record.bench}.json").write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n")


def read_all(folder: Path = RESULTS) -> dict[str, Record]:
    """All records by the names of their benches."""
    return {path.stem: Record(**json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))}


def _rounded(value: Any) -> Any:
    """Without digits that mean nothing."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(it) for key, it in value.items()}
    return [_rounded(it) for it in value] if isinstance(value, list) else value

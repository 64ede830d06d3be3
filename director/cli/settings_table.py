"""SettingsTable: what the settings classes say of themselves, as a table."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings
from rich.console import Console
from rich.table import Table

from director.settings import DirectorSettings
from shard_node.settings import NodeSettings

BEGIN, END = "<!-- settings: made by hall settings --into README.md -->", "<!-- /settings -->"


class SettingFact(msgspec.Struct, frozen=True):
    """One setting. `of` names the processes that read it; `unit` is "" where there is none."""

    name: str
    of: tuple[str, ...]
    default: str
    unit: str
    meaning: str


def facts_of_both() -> list[SettingFact]:
    """Every setting once; first what both kinds of process read, then the director's own, then the node's."""
    director, node = _facts_of(DirectorSettings, "director"), _facts_of(NodeSettings, "node")
    shared = [
        msgspec.structs.replace(director[name], of=("director", "node"), meaning=_joined(director[name], node[name]))
        for name in director
        if name in node
    ]
    alone = [facts[name] for facts in (director, node) for name in facts if not (name in director and name in node)]
    return [*shared, *alone]


def as_markdown(facts: Sequence[SettingFact]) -> str:
    """A table; ends with a line break."""
    lines = ["| setting | of | default | unit | what it does |", "| --- | --- | --- | --- | --- |"]
    for fact in facts:
        default = f"`{fact.default}`" if fact.default else "unset"
        lines.append(f"| `{fact.name}` | {', '.join(fact.of)} | {default} | {fact.unit} | {_cell(fact.meaning)} |")
    return "\n".join(lines) + "\n"


def put_into(path: Path, table: str) -> None:
    """Replace what stands between the marks. Raises ValueError where the file has none, OSError."""
    text = path.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"it has no {BEGIN} with {END} behind it")
    path.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{after}")


def show(facts: Sequence[SettingFact]) -> None:
    """For people, in a terminal."""
    table = Table(box=None, pad_edge=False)
    for heading in ("setting", "of", "default", "unit", "what it does"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "setting")
    for fact in facts:
        table.add_row(fact.name, ", ".join(fact.of), fact.default, fact.unit, fact.meaning)
    Console(highlight=False).print(table)


def _facts_of(settings: type[BaseSettings], process: str) -> dict[str, SettingFact]:
    prefix = settings.model_config.get("env_prefix", "").upper()
    return {
        name: SettingFact(
            prefix + name.upper(), (process,), _default_of(field), _unit_of(field), field.description or ""
        )
        for name, field in settings.model_fields.items()
    }


def _default_of(field: FieldInfo) -> str:
    match field.default:
        case None | "":
            return ""
        case bool() as flag:
            return str(int(flag))
        case float() as number:
            return f"{number:g}"
        case it if it is PydanticUndefined:
            return ""
        case it:
            return str(it)


def _unit_of(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""


def _joined(director: SettingFact, node: SettingFact) -> str:
    if director.meaning == node.meaning:
        return director.meaning
    return f"{director.meaning}; node: {node.meaning}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")

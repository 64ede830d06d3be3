"""The operators' guide: what points into it arrives, and what it says to type exists."""

import re
from pathlib import Path

from typer.main import get_command

from director.cli.main import app

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "OPERATIONS.md").read_text()


def test_every_alert_has_its_chapter_and_every_chapter_its_alert() -> None:
    rules = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()
    alerts = set(re.findall(r"- alert: (\w+)", rules))
    assert {f"docs/OPERATIONS.md#{alert.lower()}" for alert in alerts} == set(re.findall(r"runbook: (\S+)", rules))
    assert set(re.findall(r"^### (Hall\w+)$", GUIDE, re.MULTILINE)) == alerts


def test_every_command_of_the_guide_exists() -> None:
    commands = getattr(get_command(app), "commands")  # noqa: B009 (typer's own kind of group)
    named = set(re.findall(r"(?:^\$ |`|\{ |^)hall ([a-z]+)\b", GUIDE, re.MULTILINE))
    assert named - {"up"} <= commands.keys()
    assert len(named) > 12


def test_every_option_of_the_guide_exists() -> None:
    commands = getattr(get_command(app), "commands")  # noqa: B009
    for command, rest in re.findall(r"(?:^\$ |`|\{ |^)hall ([a-z]+) ([^`#|;\n]*)", GUIDE, re.MULTILINE):
        known = {option for param in commands[command].params for option in param.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, (command, rest)


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", GUIDE):
        assert (ROOT / "docs" / link).exists(), link

"""persistence/core/schema_fit: which release works on which schema."""

import pytest

from persistence.core.schema_fit import Fits, NoTables, SchemaFit, TooNew, TooOld, judge_schema
from persistence.schema import REVISIONS

KNOWN = ("0001", "0002_for_0001", "0003_for_0002")


@pytest.mark.parametrize(
    ("version", "fit"),
    [
        (None, NoTables()),
        ("0001", TooOld("0001")),
        ("0002_for_0001", TooOld("0002_for_0001")),
        ("0003_for_0002", Fits("0003_for_0002", is_newer=False)),
        ("0004_for_0003", Fits("0004_for_0003", is_newer=True)),
        ("0009_for_0001", Fits("0009_for_0001", is_newer=True)),
        ("0005_for_0004", TooNew("0005_for_0004")),
        ("0004", TooNew("0004")),
        ("what is this", TooNew("what is this")),
        ("0004_for_0003_or_so", TooNew("0004_for_0003_or_so")),
    ],
)
def test_a_release_works_on_its_own_schema_and_on_newer_ones_that_are_for_it(
    version: str | None, fit: SchemaFit
) -> None:
    assert judge_schema(version, known=KNOWN) == fit


def test_our_own_versions_are_named_by_the_rule() -> None:
    for count in range(1, len(REVISIONS) + 1):
        assert judge_schema("9999_for_0001", known=REVISIONS[:count]) == Fits("9999_for_0001", is_newer=True)
    with pytest.raises(ValueError, match="no id"):
        judge_schema("0002_for_0001", known=("first",))

"""Rows in bulk: many found by their keys, or many inserted, by one statement."""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import Row, Table, insert, text
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.selectable import TextualSelect

# Lists are filled up to one of these lengths, so that few statements are ever compiled. To compile one costs the event
# loop some 60 us for each key, which is why the longest is not as long as the database would take.
_LENGTHS = (1, 8, 64, 256)


class KeyedRows:
    """Those rows of `table` whose columns `keys` are one of a list of tuples; gives `keys` and then `wanted`.

    The list is joined as a table of its own. `(a, b) IN (VALUES ...)` would be shorter, but SQLite answers it by a scan
    of the whole table.
    """

    def __init__(self, table: Table, *, keys: tuple[str, ...], wanted: tuple[str, ...]) -> None:
        self._keys = keys
        self._statement_of = cache(lambda length: _statement(table, keys, wanted, length))

    async def read(self, connection: AsyncConnection, keys: Sequence[tuple[object, ...]]) -> Sequence[Row[Any]]:
        """The rows that exist, in no order; none twice if no key stands twice in `keys`."""
        found: list[Row[Any]] = []
        for start in range(0, len(keys), _LENGTHS[-1]):
            some = keys[start : start + _LENGTHS[-1]]
            length = next(length for length in _LENGTHS if length >= len(some))
            # nothing equals NULL
            filled = [*some, *[(None,) * len(self._keys)] * (length - len(some))]
            values = {f"{self._keys[j]}{i}": part for i, key in enumerate(filled) for j, part in enumerate(key)}
            found += (await connection.execute(self._statement_of(length), values)).all()
        return found


async def insert_all(connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that give a value, of a type that the driver takes, to every column of `table`.

    The same as executing `insert(table)` with them, without the work that SQLAlchemy has with the parameters of each
    row, which is a fifth of all CPU time of a commit.
    """
    statement, names = _insert_into(table, connection.dialect)
    await connection.exec_driver_sql(statement, [tuple(row[name] for name in names) for row in rows])


@lru_cache(maxsize=16)
def _insert_into(table: Table, dialect: Dialect) -> tuple[str, tuple[str, ...]]:
    """The statement as the driver takes it, and the columns in the order of its parameters."""
    names = tuple(column.name for column in table.c)
    compiled = insert(table).compile(dialect=dialect, column_keys=list(names))
    return compiled.string, names


def _statement(table: Table, keys: tuple[str, ...], wanted: tuple[str, ...], length: int) -> TextualSelect:
    asked = ", ".join("(" + ", ".join(f":{name}{i}" for name in keys) + ")" for i in range(length))
    given = [table.c[name] for name in (*keys, *wanted)]
    return text(
        f"WITH asked ({', '.join(keys)}) AS (VALUES {asked}) "  # noqa: S608 (names of our own columns)
        f"SELECT {', '.join(f'it.{column.name}' for column in given)} "
        f"FROM asked JOIN {table.name} AS it ON {' AND '.join(f'it.{name} = asked.{name}' for name in keys)}"
    ).columns(*given)

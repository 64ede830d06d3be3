"""A page of history: as many entries as its bounds allow."""

from collections.abc import Callable, Iterable

from persistence.contract.messages import Entry


def cut_page(
    entries: Iterable[Entry], *, size_of: Callable[[Entry], int], limit: int, max_bytes: int
) -> tuple[tuple[Entry, ...], bool]:
    """The first of `entries` that keep to `limit` and `max_bytes`, at least one if there is one
    and `limit` is not 0, and whether any are left.

    Nothing after the first entry left is drawn from `entries`: what does not fit ends the page, so it has no hole.
    """
    page: list[Entry] = []
    size = 0
    for entry in entries:
        size += size_of(entry)
        if len(page) >= limit or (page and size > max_bytes):
            return tuple(page), True
        page.append(entry)
    return tuple(page), False

"""DirectorCall: whether a director answers at all, asked before a run that would wait for it for ever."""

import httpx

from loadtest.routing import direct_http


class NoDirector(Exception):
    """No director answers there; the message says what to do."""


async def find_director(url: str) -> None:
    """Ask the director for its health. Raises NoDirector."""
    async with direct_http() as http:
        try:
            await http.get(f"{url.rstrip('/')}/healthz")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            words = f"no director answers at {url} ({type(error).__name__})"
            raise NoDirector(f"{words}: start a fleet with `hall up`, or give --director") from None

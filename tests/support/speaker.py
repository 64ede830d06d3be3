"""A member that talks all the time, and how long it had to wait for the word that something was heard."""

import asyncio
import itertools
from dataclasses import dataclass, field

from loadtest.client import HallClient


@dataclass(slots=True)
class Speaker:
    """A member that says one thing after the other; `acked` is when each was acknowledged, `dups` how many as known."""

    client: HallClient
    acked: list[float] = field(default_factory=list)
    dups: int = 0
    silent: bool = False

    async def speak(self, every: float = 0.01) -> None:
        clock = asyncio.get_running_loop().time
        while not self.silent:
            done = await self.client.send(f"{self.client.user} {len(self.acked)}")
            self.acked.append(clock())
            self.dups += done.dup
            await asyncio.sleep(every)

    @property
    def longest_pause(self) -> float:
        return max(after - before for before, after in itertools.pairwise(self.acked))

"""`/route` for known rooms, on one processor, beside the same answer by Starlette and PyJWT as documented."""

import asyncio
import logging
from contextlib import suppress
from functools import partial
from statistics import quantiles
from time import perf_counter, sleep
from typing import Any

import redis
import structlog
from starlette.responses import Response

from director.app import build_app
from director.route_answers import RouteAnswers
from director.settings import DirectorSettings
from tests.bench.figures import figure, repeats, report, seconds
from tests.bench.http_crowd import AnswerRefused, ask_for
from tests.bench.processes import apart, pin_others, pin_server, used_by
from tests.bench.servers import STARLETTE, hall, serving
from tests.support.fleet import Fleet

ROOMS = 200
CONNECTIONS = 16
SPAN = 6.0
REPEATS = 3
A_SECOND_AT_LEAST = 4_000.0
REDIS_CALLS_AT_MOST = 0.01
IN_APP_CALLS = 3_000


def main() -> dict[str, Any]:
    """Answers a second, what one costs, and whether Redis was asked."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    ours, plain, in_app = list[dict[str, float]](), list[dict[str, float]](), list[float]()
    for _ in range(repeats(REPEATS)):
        with serving(STARLETTE) as it:
            plain.append(_measure(it.pid, it.port))
        with apart(), hall(pinned=False) as fleet:
            for name, pid in fleet.pids().items():
                (pin_server if name == "director" else pin_others)(pid)
            _let_all_be_known(fleet.port)
            ours.append(_measured_with_redis(fleet))
            in_app.append(asyncio.run(_in_app(fleet)))
    return report(
        [
            figure("answers a second, one processor", "/s", [it["rate"] for it in ours], at_least=A_SECOND_AT_LEAST),
            figure("answers a second, plain Starlette and PyJWT", "/s", [it["rate"] for it in plain]),
            figure(
                "lecturehall to plain Starlette, CPU an answer",
                "x",
                [mine["us"] / theirs["us"] for mine, theirs in zip(ours, plain, strict=True)],
            ),
            figure("CPU an answer", "µs", [it["us"] for it in ours]),
            figure("in the application alone", "µs", in_app),
            figure(f"p99 with {CONNECTIONS} asking", "ms", [it["p99_ms"] for it in ours]),
            figure(
                "Redis commands an answer",
                "",
                [it["redis"] / it["answers"] for it in ours],
                at_most=REDIS_CALLS_AT_MOST,
                note="beyond those of as long a time without a question",
            ),
        ],
        runs=[*ours, *plain],
    )


def _target(number: int) -> str:
    return f"/route?room=bench-{number % ROOMS}&user=u{number}&name=u{number}&role=student"


def _let_all_be_known(port: int) -> None:
    """Ask for each room until it is answered: a fleet that has just come up may have to settle."""
    known = 0
    give_up_at = perf_counter() + 60
    while known < ROOMS:
        assert perf_counter() < give_up_at, "the director does not route"
        with suppress(AnswerRefused):
            known += ask_for(port, partial(_nth_target, known), connections=1, span=0.5)[0]


def _nth_target(first: int, number: int) -> str:
    return _target(first + number)


def _measure(pid: int, port: int) -> dict[str, float]:
    ask_for(port, _target, connections=CONNECTIONS, span=seconds(1.0))
    before, began_at = used_by(pid), perf_counter()
    answers, spans = ask_for(port, _target, connections=CONNECTIONS, span=seconds(SPAN))
    took, after = perf_counter() - began_at, used_by(pid)
    return {
        "answers": float(answers),
        "rate": answers / took,
        "us": (after.cpu - before.cpu) / answers * 1e6,
        "p99_ms": quantiles(spans, n=100)[98] * 1e3,
    }


def _measured_with_redis(fleet: Fleet) -> dict[str, float]:
    began_at, calls = perf_counter(), _redis_calls(fleet)
    sleep(seconds(3.0))
    a_second = (_redis_calls(fleet) - calls) / (perf_counter() - began_at)
    began_at, calls = perf_counter(), _redis_calls(fleet)
    measured = _measure(fleet.pid_of("director"), fleet.port)
    measured["redis"] = max(0.0, _redis_calls(fleet) - calls - a_second * (perf_counter() - began_at))
    return measured


def _redis_calls(fleet: Fleet) -> float:
    with redis.Redis.from_url(fleet.redis_url) as client:
        info = client.info("stats")
    assert isinstance(info, dict)
    return float(info["total_commands_processed"])


async def _in_app(fleet: Fleet) -> float:
    """Microseconds that an answer takes in a director of the same fleet within this process, without HTTP around it."""
    settings = DirectorSettings(demo=True, data=fleet.data, redis_url=fleet.redis_url, director_url=fleet.director_url)
    app = build_app(settings)
    answers: RouteAnswers = app.state.door.answers

    def status_of(number: int) -> int | None:
        """None: it is not known at once."""
        answer = answers.to(_target(number).partition("?")[2].encode(), None)
        if isinstance(answer, Response):
            return answer.status_code
        answer.close()
        return None

    async with app.router.lifespan_context(app):
        async with asyncio.timeout(30):
            while {status_of(number) for number in range(ROOMS)} != {200}:  # noqa: ASYNC110 - nobody is told
                await asyncio.sleep(0.05)
        began_at = perf_counter()
        statuses = {status_of(number) for number in range(IN_APP_CALLS)}
        took = perf_counter() - began_at
        assert statuses == {200}, statuses
    return took / IN_APP_CALLS * 1e6


if __name__ == "__main__":
    from tests.bench.__main__ import show

    show(main())

"""The people of a load run, as Locust users. Import this in a process of its own: locust patches what is imported."""

import itertools
import os
import random
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import locust
import msgspec
from locust import FastHttpUser, task
from locust.exception import StopUser

from director.contract.ids import NodeName, Role, RoomId, UserId
from loadtest.contract.received import Route, refusal_of
from loadtest.core.way_back import Unrouted
from loadtest.generated_chat import made_up_answer, made_up_remark
from loadtest.recording import HistoryFile
from loadtest.wire_member import Dismissed, WireMember

_SEND_WITHIN = 30.0
_events: Any = locust.events  # locust's own types are partial
# A lecture's own word on who may speak is not a failure of the hall.
_EXPECTED_REFUSALS = ("MODE_CLOSED", "MUTED")


def _add_options(parser: Any) -> None:
    parser.add_argument("--hall-shape", default="steady", help="bell or steady")
    parser.add_argument("--hall-students", type=int, default=100)
    parser.add_argument("--hall-seconds", type=float, default=60.0)
    parser.add_argument("--hall-rooms", default="load", help="comma-separated")
    parser.add_argument("--hall-history", default="", help="write the history to this file")
    parser.add_argument("--hall-seed", type=int, default=1)


class LectureUser(FastHttpUser):
    """Somebody in a lecture: comes by the director, reads, and comes back; what one does there is the subclass's."""

    abstract = True
    role = Role.STUDENT
    history: HistoryFile | None = None
    _numbers = itertools.count()

    def on_start(self) -> None:
        options = self.environment.parsed_options
        rooms = options.hall_rooms.split(",")
        number = next(type(self)._numbers)
        self.rng = random.Random(f"{options.hall_seed} {type(self).__name__} {number}")
        self.room = RoomId(rooms[number % len(rooms)])
        self.user_id = UserId(f"{self.role}-{os.getpid()}-{number}")
        self.member = WireMember(
            self.room,
            self.user_id,
            route=self.find_room,
            gauge=self,
            recorder=LectureUser.history,
            rng=self.rng,
            clock=monotonic,
            sleep=gevent.sleep,
        )

    def on_stop(self) -> None:
        self.member.leave()

    def read_for(self, seconds: float) -> None:
        """Be there for a while."""
        try:
            self.member.read_until(monotonic() + seconds)
        except Dismissed as reason:
            raise StopUser from reason

    def ask(self, event: str, body: dict[str, Any]) -> None:
        """Ask for something, with retries."""
        try:
            self.member.ask(event, body, within=_SEND_WITHIN)
        except Dismissed as reason:
            raise StopUser from reason

    def find_room(self, failed: NodeName | None) -> Route | Unrouted:
        """Ask the director; counted by Locust as GET /route."""
        asked = {"room": self.room, "user": self.user_id, "name": self.user_id, "role": str(self.role)}
        hint = {"failed": failed} if failed else {}
        query = "&".join(f"{key}={value}" for key, value in (asked | hint).items())
        with self.client.get(f"/route?{query}", name="/route", catch_response=True) as answer:
            try:
                body = msgspec.json.decode(answer.content or b"")
                if answer.status_code == 200:
                    return msgspec.convert(body, Route)
            except msgspec.MsgspecError as error:
                answer.failure(str(error))
                return Unrouted(failed)
            refusal = refusal_of(body)
            answer.failure(refusal.code if refusal else f"HTTP {answer.status_code}")
            return Unrouted(failed, refusal)

    # --- the gauge

    def joined(self, seconds: float, failure: str | None) -> None:
        self._measured("join", "join", seconds, failure)

    def sent(self, event: str, seconds: float, failure: str | None) -> None:
        refused = failure in _EXPECTED_REFUSALS
        name = f"{event}, refused by the lecture" if refused else event
        self._measured("send", name, seconds, None if refused else failure)

    def delivered(self, seconds: float) -> None:
        self._measured("deliver", "entry", seconds, None)

    def _measured(self, kind: str, name: str, seconds: float, failure: str | None) -> None:
        _events.request.fire(
            request_type=kind,
            name=name,
            response_time=seconds * 1000,
            response_length=0,
            exception=None if failure is None else RuntimeError(failure),
            context={},
        )


class Student(LectureUser):
    """Reads, sometimes says something, and now and then loses the connection."""

    @task(30)
    def read(self) -> None:
        self.read_for(self.rng.expovariate(1 / 6))

    @task(4)
    def speak(self) -> None:
        kind = "question" if self.rng.random() < 0.2 else "message"
        self.ask("send", {"text": made_up_remark(self.rng), "kind": kind})

    @task(2)
    def answer(self) -> None:
        self.ask("send", {"text": made_up_answer(self.rng)})

    @task(1)
    def lose_connection(self) -> None:
        self.member.drop()
        self.read_for(self.rng.uniform(0.5, 5))


class Lecturer(LectureUser):
    """Says something every few seconds, puts up notices and at times lets only staff speak. One for each room."""

    role = Role.LECTURER

    @task(20)
    def speak(self) -> None:
        self.ask("send", {"text": made_up_remark(self.rng)})
        self.read_for(self.rng.uniform(2, 4))

    @task(2)
    def put_up_notice(self) -> None:
        self.ask("notice", {"text": made_up_remark(self.rng)})
        self.read_for(2)

    @task(1)
    def ask_for_silence(self) -> None:
        self.ask("mode", {"mode": "staff", "slow_ms": 0})
        self.read_for(self.rng.uniform(2, 5))
        self.ask("mode", {"mode": "open", "slow_ms": 0})


def _prepare(environment: Any, **_: Any) -> None:
    options = environment.parsed_options
    Lecturer.fixed_count = len(options.hall_rooms.split(","))
    if options.hall_history:
        LectureUser.history = HistoryFile(Path(options.hall_history))


def _finish(**_: Any) -> None:
    if LectureUser.history is not None:
        LectureUser.history.close()
        LectureUser.history = None


_events.init_command_line_parser.add_listener(_add_options)
_events.init.add_listener(_prepare)
_events.quitting.add_listener(_finish)

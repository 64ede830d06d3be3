"""director/identity: who is asking."""

import json

import jwt
import pytest

from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import Role, RoomId
from director.identity import DemoIdentities, Identity, PlatformIdentities, bearer_of

KEY = "p" * 32
NOW_MS = 1_000_000_000


def demo(**query: str) -> Identity:
    return DemoIdentities(random_bytes=lambda count: b"\x01" * count).identity_of(query, None, now_ms=NOW_MS)


def platform(claims: dict[str, object], *, key: str = KEY, scheme: str = "Bearer") -> Identity:
    identities = PlatformIdentities(KEY, algorithm="HS256")
    token = jwt.encode(claims, key, algorithm="HS256")
    return identities.identity_of({"user": "ignored", "role": "lecturer"}, f"{scheme} {token}", now_ms=NOW_MS)


def code_of(call: object, *args: object, **kwargs: object) -> ErrorCode:
    with pytest.raises(Refusal) as caught:
        call(*args, **kwargs)  # type: ignore[operator]
    return caught.value.code


def test_in_a_demo_everybody_is_who_they_say() -> None:
    assert demo(user="ann", name="Ann B", role="lecturer") == Identity("ann", "Ann B", Role.LECTURER)  # type: ignore[arg-type]
    assert demo(user="ann") == Identity("ann", "ann", Role.STUDENT)  # type: ignore[arg-type]


def test_in_a_demo_who_says_nothing_is_a_guest() -> None:
    assert demo() == Identity("guest-010101", "guest-010101", Role.STUDENT)  # type: ignore[arg-type]
    assert demo(user="").user == "guest-010101"


@pytest.mark.parametrize("query", [{"user": "a\tb"}, {"user": "x" * 129}, {"name": "x" * 65}, {"role": "dean"}])
def test_who_cannot_be_is_a_bad_request(query: dict[str, str]) -> None:
    assert code_of(demo, **query) is ErrorCode.BAD_REQUEST


def test_a_long_user_without_a_name_is_shown_by_what_fits() -> None:
    assert demo(user="x" * 100).name == "x" * 64


def test_the_platform_s_token_says_who_is_asking() -> None:
    identity = platform({"sub": "u1", "name": "Ann", "role": "assistant", "rooms": ["math-*", "art"], "iss": "x"})
    assert identity == Identity("u1", "Ann", Role.ASSISTANT, ("math-*", "art"))  # type: ignore[arg-type]
    assert platform({"sub": "u1"}, scheme="bearer") == Identity("u1", "u1", Role.STUDENT)  # type: ignore[arg-type]


def test_rooms_are_patterns() -> None:
    identity = platform({"sub": "u1", "rooms": ["math-*", "art"]})
    for room in ("math-101", "math-", "art"):
        identity.check_may_enter(RoomId(room))
    for room in ("art2", "Math-101", "physics"):
        assert code_of(identity.check_may_enter, RoomId(room)) is ErrorCode.FORBIDDEN
    platform({"sub": "u1"}).check_may_enter(RoomId("anything"))
    assert code_of(platform({"sub": "u1", "rooms": []}).check_may_enter, RoomId("a")) is ErrorCode.FORBIDDEN


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer a.b.c", "Bearer " + "x" * 9000]
)
def test_without_a_valid_token_nobody_is_known(authorization: str | None) -> None:
    identities = PlatformIdentities(KEY, algorithm="HS256")
    assert code_of(identities.identity_of, {}, authorization, now_ms=NOW_MS) is ErrorCode.UNAUTHENTICATED


def test_forged_tokens_are_not_believed() -> None:
    unsigned = jwt.encode({"sub": "u1"}, None, algorithm="none")
    identities = PlatformIdentities(KEY, algorithm="HS256")
    assert code_of(platform, {"sub": "u1"}, key="q" * 32) is ErrorCode.UNAUTHENTICATED
    assert code_of(identities.identity_of, {}, f"Bearer {unsigned}", now_ms=NOW_MS) is ErrorCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "claims", [{}, {"sub": ""}, {"sub": 7}, {"sub": "u", "rooms": "math"}, {"sub": "u", "exp": "x"}]
)
def test_a_token_that_is_not_whole_is_not_believed(claims: dict[str, object]) -> None:
    token = "Bearer " + jwt.PyJWS().encode(json.dumps(claims).encode(), KEY, algorithm="HS256")
    identities = PlatformIdentities(KEY, algorithm="HS256")
    assert code_of(identities.identity_of, {}, token, now_ms=NOW_MS) is ErrorCode.UNAUTHENTICATED


def test_a_token_s_times_are_compared_with_redis_time() -> None:
    now = NOW_MS / 1000
    assert platform({"sub": "u1", "exp": now - 9, "nbf": now + 9}).user == "u1"
    assert code_of(platform, {"sub": "u1", "exp": now - 11}) is ErrorCode.UNAUTHENTICATED
    assert code_of(platform, {"sub": "u1", "nbf": now + 11}) is ErrorCode.UNAUTHENTICATED


@pytest.mark.parametrize("claims", [{"sub": "a\nb"}, {"sub": "u", "role": "dean"}, {"sub": "u", "name": " "}])
def test_a_token_that_says_what_cannot_be_is_a_bad_request(claims: dict[str, object]) -> None:
    assert code_of(platform, claims) is ErrorCode.BAD_REQUEST


def test_an_unknown_algorithm_is_refused() -> None:
    for algorithm in ("none", "ROT13"):
        with pytest.raises(ValueError, match="algorithm"):
            PlatformIdentities(KEY, algorithm=algorithm)


def test_a_bearer_is_the_token_alone() -> None:
    assert bearer_of("Bearer  abc ") == "abc"
    assert bearer_of("bearer abc") == "abc"
    assert bearer_of("Token abc") is None
    assert bearer_of(None) is None

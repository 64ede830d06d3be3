"""director/contract/errors: one shape, and a way on for every code."""

import msgspec
import pytest

from director.contract.errors import Action, ControlPathUnavailable, ErrorCode, Refusal


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_code_says_what_to_do_and_has_a_status(code: ErrorCode) -> None:
    assert code.action in Action
    assert 400 <= code.http_status <= 503
    assert code.is_temporary == (code.action in (Action.RETRY, Action.REROUTE))


def test_the_protocol_s_table_is_kept() -> None:
    assert ErrorCode.NOT_OWNER.action is Action.REROUTE
    assert ErrorCode.OWNER_UNCONFIRMED.action is Action.RETRY
    assert ErrorCode.MODE_CLOSED.action is Action.STAY
    assert ErrorCode.UNSUPPORTED.action is Action.FIX
    assert ErrorCode.UNAUTHENTICATED.action is Action.STOP
    assert ErrorCode.NO_NODES.http_status == ErrorCode.OWNER_UNCONFIRMED.http_status == 503
    assert ErrorCode.RATE_LIMITED.http_status == 429


def test_a_refusal_has_the_error_shape() -> None:
    refusal = Refusal(ErrorCode.OWNER_UNCONFIRMED, "ask again", retry_after_ms=300)

    assert msgspec.to_builtins(refusal.shape) == {
        "ok": False,
        "error": {
            "code": "OWNER_UNCONFIRMED",
            "message": "ask again",
            "action": "retry",
            "temporary": True,
            "retry_after_ms": 300,
        },
    }
    assert str(refusal) == "OWNER_UNCONFIRMED: ask again"


def test_not_knowing_is_not_a_refusal() -> None:
    assert not issubclass(ControlPathUnavailable, Refusal)

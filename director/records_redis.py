"""Room records as Redis keeps them and as its scripts answer them."""

from collections.abc import Sequence

import msgspec

from director.contract.ids import RoomId
from director.contract.ownership import Asked, Claimed, Outrun, RoomRecord

FIELDS = (
    "owner",
    "incarnation",
    "epoch",
    "why",
    "version",
    "members",
    "peak",
    "moves",
    "target",
    "target_incarnation",
    "target_why",
    "is_warm",
)

_decoder = msgspec.json.Decoder(RoomRecord)


def identity_of(record: RoomRecord) -> list[str | int]:
    """What a script compares to tell whether the room is still as its caller believes."""
    return [record.owner, record.incarnation, record.epoch]


def aim_of(record: RoomRecord) -> list[str | int]:
    """The identity, and where the room is asked to move to; nobody's name is empty."""
    return [*identity_of(record), record.target or "", record.target_incarnation or ""]


def claimed_or_outrun(outcome: str, record: str) -> Claimed | Outrun:
    """What an answer {'claimed' or 'outrun', record or ''} says."""
    standing = _decoder.decode(record) if record else None
    if outcome == "claimed" and standing is not None:
        return Claimed(standing)
    return Outrun(standing)


def asked_or_outrun(outcome: str, record: str) -> Asked | Outrun:
    """What an answer {'asked' or 'outrun', record or ''} says."""
    standing = _decoder.decode(record) if record else None
    if outcome == "asked" and standing is not None:
        return Asked(standing)
    return Outrun(standing)


def record_of(room: RoomId, values: Sequence[str | None]) -> RoomRecord | None:
    """The record that the FIELDS of a room's hash make, None where there is none."""
    if values[0] is None:
        return None
    told = {field: value for field, value in zip(FIELDS, values, strict=True) if value is not None}
    return msgspec.convert(told | {"room": room}, RoomRecord, strict=False)

"""The tally: what a node has counted since it started, as plain numbers that metrics.py reads when somebody asks.

Counting stands in the message path, so it adds to integers and does nothing else; what is counted for each member of a
room would be too much even so, and is counted by the batch.
"""

from collections import Counter
from dataclasses import dataclass, field

from director.contract.spread import PATIENT, QUICK, Spread

FRAME_BYTES = (256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0)

MOVE_OUTCOMES = (
    ("out", "moved"),
    ("out", "cancelled"),
    ("out", "taken_back"),
    ("out", "lost"),
    ("in", "moved"),
    ("in", "cancelled"),
)
"""How planned moves end here. Of rooms that are to leave: `moved`; `cancelled`, it stayed, as its target was not ready
or it could not be frozen in time; `taken_back`, the target did not open it in time; `lost`, it is somebody else's. Of
rooms that are to come: `moved`, or `cancelled`, the room stayed where it was."""


@dataclass(slots=True)
class NodeTally:
    """One node's. Counters never fall, whatever becomes of the rooms that they were counted in."""

    joined: Counter[str] = field(default_factory=Counter)
    """Members that joined: `new`, `recovered`, or why all was not there (`too_far`, `new_log`)."""
    left: int = 0
    unadmitted: Counter[str] = field(default_factory=Counter)
    """Refused while connecting, by ErrorCode."""
    events: Counter[str] = field(default_factory=Counter)
    """Events that were acted upon, by name."""
    refused: Counter[str] = field(default_factory=Counter)
    """Events that were answered with an error, by code."""
    appended: int = 0
    """Entries that were committed and shown."""
    unappended: Counter[str] = field(default_factory=Counter)
    """Drafts that came to no entry of their own: `duplicate`, `fenced`, `unfounded`, `unsettled`."""
    frame_bytes: Spread = field(default_factory=lambda: Spread(FRAME_BYTES))
    """Bytes of each frame, which is encoded once for all members."""
    fanout: Spread = field(default_factory=lambda: Spread(QUICK))
    """Seconds of this thread's time that showing a batch to a room's members took."""
    deliveries: int = 0
    """Frames times members that they were written to."""
    fell_behind: int = 0
    """Members that could not take a frame when it came."""
    gaps: int = 0
    byes: Counter[str] = field(default_factory=Counter)
    opened: Counter[str] = field(default_factory=Counter)
    """Openings of rooms: `opened`, or the code that it was refused with."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Rooms that were ended here, by the code that their members were told."""
    closed: int = 0
    """Rooms that were closed because nobody was there."""
    fenced: int = 0
    """Rooms that the store said are another's."""
    leases_lost: int = 0
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By one of MOVE_OUTCOMES."""
    move_seconds: Spread = field(default_factory=lambda: Spread(PATIENT))
    """From the order to the last word, of rooms that moved away."""
    pause: Spread = field(default_factory=lambda: Spread(PATIENT))
    """For how long rooms that moved away, or were to, answered no message here."""

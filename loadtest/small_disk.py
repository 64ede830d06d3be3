"""SmallDisk: a folder that can be full, on a disk of its own in memory that this process and its children alone see.

Linux, and root: the mount stands in a mount namespace of ours, which ends with the last process in it, however that
ends. Nothing is left to clean up.
"""

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

DISK_BYTES = 64 * 1024 * 1024
_BLOCK = 64 * 1024
_CLONE_NEWNS = 0x00020000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_MNT_DETACH = 2


class NoSmallDisk(Exception):
    """This process may not have a disk of its own; the message says why."""


class SmallDisk:
    """A disk of 64 MiB at `folder`. From its making on this process and what it starts live in a mount namespace of
    their own; make it before any thread. Raises NoSmallDisk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        if sys.platform != "linux":
            raise NoSmallDisk("only Linux has mount namespaces")
        folder.mkdir(parents=True, exist_ok=True)
        self._libc = libc = ctypes.CDLL(None, use_errno=True)
        _check(libc.unshare(_CLONE_NEWNS), "a mount namespace")
        _check(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "private mounts")
        options = f"size={DISK_BYTES},mode=0700".encode()
        _check(libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, options), "a disk in memory")

    def fill(self) -> None:
        """Leave no room at all."""
        block = bytes(_BLOCK)
        with suppress(OSError), self._ballast.open("ab", buffering=0) as ballast:
            while True:
                ballast.write(block)

    def free(self) -> None:
        """Give the room back; idempotent."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Take the disk away, with all that is on it."""
        _check(self._libc.umount2(os.fsencode(self.folder), _MNT_DETACH), "end of the disk in memory")


def _check(answer: int, what: str) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise NoSmallDisk(f"no {what}: {os.strerror(number)} (it takes root)")

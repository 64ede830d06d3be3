"""Tether: what makes a process die with its parent, also when the parent is killed with -9.

Linux sends the child a signal when the *thread* that forked it ends (prctl(2), PR_SET_PDEATHSIG), so fork from the main
thread. The setting survives exec, but neither a fork nor a change of credentials: a grandchild needs its own. Other
systems have no such thing; there a child outlives a parent that was killed with -9.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def tether_to_parent(parent_pid: int) -> None:
    """Make this process be killed when its parent ends; call it in the child, with the parent's pid as the parent knew
    it. Ends this process at once if the parent has gone already."""
    if _prctl is None:
        return
    if _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # the parent may have died between the fork and the call above, and then no signal will ever come
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def tether() -> Callable[[], None]:
    """A `preexec_fn` that ties the child to this process. Make it and fork in the main thread."""
    parent_pid = os.getpid()
    return lambda: tether_to_parent(parent_pid)


# looked up here because nothing may be imported or loaded between fork and exec
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None

"""A prefix for commands that must not outlive the process that starts them.

A process that is killed (SIGKILL, a crashed test run) cannot stop its children. Linux can: the prefix
asks the kernel to signal the command once its parent is gone, then becomes the command, so the
process id is the command's own. Elsewhere the prefix only becomes the command.

The kernel watches the parent's *thread*: start leashed commands from the main thread.
"""

from __future__ import annotations

import os
import pwd
import signal
import sys
from collections.abc import Sequence

# Change the user first: the kernel drops the request when credentials change.
_BECOME = """
import ctypes, os, sys
parent, number, uid, gid = map(int, sys.argv[1:5])
if uid:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, number)
    if os.getppid() != parent:
        os._exit(1)
os.execv(sys.argv[5], sys.argv[5:])
"""


def leashed(
    command: Sequence[str | os.PathLike[str]],
    *,
    when_orphaned: signal.Signals = signal.SIGTERM,
    user: pwd.struct_passwd | None = None,
) -> list[str]:
    """Return a command line that runs ``command`` (an absolute path first), as ``user`` if given."""
    uid, gid = (user.pw_uid, user.pw_gid) if user else (0, 0)
    numbers = (os.getpid(), int(when_orphaned), uid, gid)
    become = [sys.executable, "-I", "-S", "-c", _BECOME, *map(str, numbers)]
    return become + [os.fspath(part) for part in command]

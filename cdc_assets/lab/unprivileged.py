"""Run a program as an ordinary user: `python -I unprivileged.py PROGRAM ARGUMENTS...`.

PostgreSQL refuses to run as root. The lab's folders belong to root then, often below a home
that nobody else may enter, so the user `nobody` is given one right of root's: to pass by
permissions of files (`CAP_DAC_OVERRIDE`). The right is ambient, so the programs that the
program starts have it, too; it ends with them. The process stays the same, and so does its pid.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys

_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_SECUREBITS = 28
# With it, neither setuid(2) nor access(2) takes the rights of a process away that is not root.
_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Rights(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def ordinary_user() -> tuple[int, int]:
    """Return the user and group that a program runs as which refuses to run as root."""
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def become_ordinary() -> None:
    """Give up being root, and every right of root's but one.

    Raises:
        OSError: This root has not the rights to do so, as in a container without them.
    """
    user, group = ordinary_user()
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP, 0, 0, 0))
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    right = 1 << _CAP_DAC_OVERRIDE
    rights = (_Rights * 2)(_Rights(right, right, right), _Rights(0, 0, 0))
    header = _Header(_CAPABILITY_VERSION_3, 0)
    _checked(libc.capset(ctypes.byref(header), rights))
    _checked(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def main() -> None:
    """Become an ordinary user, and then the program."""
    program = sys.argv[1:]
    try:
        become_ordinary()
        os.execv(program[0], program)  # noqa: S606 - the lab's own command line, no shell
    except OSError as error:
        sys.exit(f"error: cannot run as an ordinary user: {error.strerror}; do not run as root")


if __name__ == "__main__":
    main()

"""Executes a program that ends with its parent and, for root, runs as another user. Run by path: stdlib only.

``python -I -S launch.py PARENT_PID DEATH_SIGNAL UID GID program [argument…]``; UID -1 keeps the user.

PostgreSQL refuses uid 0. The program keeps no right of root if the other user can reach the program and the
working directory. If one of them is below a closed directory, such as a 0700 home, the program keeps only
CAP_DAC_READ_SEARCH: it reads and traverses what root could, and writes only what its user may write.
Exit codes: 125 the parent has ended, 126 see the message.
"""

import ctypes
import os
import signal
import struct
import sys

PR_SET_PDEATHSIG, PR_SET_SECUREBITS = 1, 28
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
# Without this bit access(2) ignores the capabilities of a non-root uid. PostgreSQL calls access(2) to check that its
# own program can be read.
SECBIT_NO_SETUID_FIXUP = 4
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION_3 = 0x20080522


def main(argv: list[str]) -> None:
    """Never returns: execs the program or exits."""
    parent, death_signal, uid, gid = (int(text) for text in argv[:4])
    command = argv[4:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if uid >= 0:
            _become(libc, uid, gid, [command[0], os.getcwd()])
        # After the change of user, which clears it.
        libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    elif uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # A parent that ended before prctl sends no death signal.
    if os.getppid() != parent:
        sys.exit(125)
    # Python ignores these two signals. A server that inherits "ignore" does not notice a broken connection.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execv(command[0], command)  # noqa: S606 - the whole purpose
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]!r} as uid {os.geteuid()}: {error}\n")
        sys.exit(126)


def _become(libc: ctypes.CDLL, uid: int, gid: int, needed: list[str]) -> None:
    try:
        can_keep = _has(CAP_DAC_READ_SEARCH) and libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) == 0
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        if can_keep:
            # First without effective capabilities, so that access(2) answers for the user without extra rights.
            mask = 1 << CAP_DAC_READ_SEARCH
            _set_capabilities(libc, 0, mask)
            if all(os.access(path, os.X_OK) for path in needed):
                _set_capabilities(libc, 0, 0)
            else:
                _set_capabilities(libc, mask, mask)
                if libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0) != 0:
                    raise OSError(ctypes.get_errno(), "prctl(PR_CAP_AMBIENT_RAISE) failed")
    except OSError as error:
        sys.stderr.write(f"cannot change from uid 0 to uid {uid}: {error}\n")
        sys.exit(126)


def _has(capability: int) -> bool:
    with open("/proc/self/status", encoding="ascii") as status:
        permitted = next(line for line in status if line.startswith("CapPrm:"))
    return bool(int(permitted.split()[1], 16) >> capability & 1)


def _set_capabilities(libc: ctypes.CDLL, effective: int, kept: int) -> None:
    """Set the low 32 capabilities, ``kept`` as permitted and inheritable, and clear the high ones. Raises OSError."""
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    if libc.capset(header, struct.pack("=6I", effective, kept, kept, 0, 0, 0)) != 0:
        raise OSError(ctypes.get_errno(), "capset failed")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Become a process of an endpoint: enter its network namespace, drop to the caller's rights, exec.

Run as a program by the keeper, with the standard library only:
`enter.py KEEPER_PID NAMESPACE_FD HOSTS_FILE UID GID GROUPS CWD -- ARGV…`. The process keeps CAP_NET_RAW and
CAP_NET_ADMIN, which are good for its own namespace and nothing else, and cannot gain any right.
"""

import ctypes
import os
import signal
import struct
import sys

CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x00020000
MS_REC, MS_PRIVATE, MS_BIND = 0x4000, 1 << 18, 4096
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 38, 47, 2
CAP_NET_ADMIN, CAP_NET_RAW = 12, 13
CAPABILITY_VERSION_3 = 0x20080522


def main(arguments: list[str]) -> None:
    """Never returns: ends as the program asked for, or with 126 or 127 as a shell does."""
    keeper, namespace, hosts, uid, gid, groups, cwd = arguments[:7]
    argv = arguments[8:]
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *values: object) -> None:
        if getattr(libc, name)(*values) != 0:
            number = ctypes.get_errno()
            fail(126, f"{name}: {os.strerror(number)}")

    call("setns", int(namespace), CLONE_NEWNET)
    os.close(int(namespace))
    call("unshare", CLONE_NEWNS)
    call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    # A /sys that shows this namespace's interfaces, and names that resolve to the instance's addresses.
    call("mount", b"sysfs", b"/sys", b"sysfs", 0, None)
    call("mount", os.fsencode(hosts), b"/etc/hosts", None, MS_BIND, None)
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    call("prctl", PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([int(group) for group in groups.split(",") if group])
    os.setresgid(int(gid), int(gid), int(gid))
    os.setresuid(int(uid), int(uid), int(uid))
    kept = 1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW
    header = struct.pack("Ii", CAPABILITY_VERSION_3, 0)
    sets = struct.pack("6I", kept, kept, kept, 0, 0, 0)
    call("capset", header, sets)
    # After the change of user, which would clear it: a keeper that is killed takes us with it.
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(keeper):
        fail(126, "the keeper has ended")
    for capability in (CAP_NET_ADMIN, CAP_NET_RAW):
        call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0)
    # What the keeper and Python ignore, a program does not: Ctrl-C ends it, and so does a closed pipe.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.chdir(cwd)
        os.execvp(argv[0], argv)
    except FileNotFoundError:
        fail(127, f"{argv[0]}: not found (or its folder {cwd})")
    except OSError as error:
        fail(126, f"{argv[0]}: {error.strerror}")


def fail(status: int, text: str) -> None:
    """Say why, and end."""
    print(f"sonemu: {text}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])

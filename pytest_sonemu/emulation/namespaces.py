"""Network namespaces without names: made, held and entered by file descriptor.

A namespace belongs to a thread; so whatever has to happen inside one runs on a thread of its own
that enters it and ends there.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pytest_sonemu.errors import EmulationError

_CLONE_NEWNET, _CLONE_NEWNS = 0x40000000, 0x00020000
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 32, 4096, 0x4000, 1 << 18

# IPv6 and the bridge's netfilter hooks may be left out; ICMP's rate is the machine's before Linux 6.12.
_MAY_BE_MISSING = ("net.ipv6.", "net.bridge.", "net.ipv4.icmp_msgs_")

T = TypeVar("T")


def unshare_network() -> None:
    """Put the calling thread (or, before any thread is started, the process) into a new network namespace."""
    _check(ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET), "unshare")


def make_sysctls_writable() -> None:
    """In a container /proc/sys is read-only: open it in a mount namespace of this process's own.

    To be called before any thread is started. Needs CAP_SYS_ADMIN, as all that a keeper does.
    """
    if os.access("/proc/sys/net/ipv4/ip_forward", os.W_OK):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(_CLONE_NEWNS), "unshare")
    _check(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount")
    _check(libc.mount(b"none", b"/proc/sys", None, _MS_REMOUNT | _MS_BIND, None), "mount")


def enter_network(namespace: int) -> None:
    """Put the calling thread into the network namespace behind a descriptor."""
    _check(ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET), "setns")


def new_namespace() -> int:
    """A new network namespace; the descriptor returned is what keeps it alive."""

    def make() -> int:
        unshare_network()
        return open_own()

    return _on_a_thread(make)


def open_own() -> int:
    """A descriptor of the calling thread's own network namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def open_of_process(pid: int) -> int:
    """A descriptor of a process's network namespace."""
    return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def inside(namespace: int, action: Callable[[], T]) -> T:
    """Run `action` in a network namespace and return what it returns."""

    def enter_and_act() -> T:
        enter_network(namespace)
        return action()

    return _on_a_thread(enter_and_act)


def run_inside(
    namespace: int | None, argv: Sequence[str], text: str = "", timeout: float = 30.0, *, force: bool = False
) -> None:
    """Run a program in a namespace (None: where we are) with `text` as its input.

    Raises EmulationError with what the program wrote when it fails, unless by `force` it may.
    """

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, input=text, capture_output=True, text=True, timeout=timeout, check=False)

    try:
        done = run() if namespace is None else inside(namespace, run)
    except subprocess.TimeoutExpired as error:
        raise EmulationError(f"{' '.join(argv)} did not end within {timeout:g} s") from error
    if done.returncode != 0 and not force:
        raise EmulationError(f"{' '.join(argv)} failed: {_failing_line(done.stderr, text)}")


def write_sysctls(namespace: int | None, values: Sequence[tuple[str, str]]) -> None:
    """Set `net.*` keys of a namespace (None: where we are).

    A key that this kernel lacks is passed over where it belongs to a part that may be left out.
    """

    def write() -> None:
        for name, value in values:
            path = sysctl_path(name)
            if name.startswith(_MAY_BE_MISSING) and not path.exists():
                continue
            try:
                path.write_text(value)
            except OSError as error:
                raise EmulationError(f"cannot set {name}={value}: {error.strerror}") from error

    if namespace is None:
        write()
    else:
        inside(namespace, write)


def read_sysctl(namespace: int, name: str) -> str:
    """A `net.*` key of a namespace. Raises EmulationError where there is no such key."""

    def read() -> str:
        try:
            return sysctl_path(name).read_text().strip()
        except OSError as error:
            raise EmulationError(f"cannot read {name}: {error.strerror}") from error

    return inside(namespace, read)


def count_no_routes(namespace: int) -> int:
    """How many IPv4 packets that came in had no route there (the kernel's `IpExtInNoRoutes`)."""

    def read() -> str:
        return Path("/proc/thread-self/net/netstat").read_text()

    rows = [line.split() for line in inside(namespace, read).splitlines() if line.startswith("IpExt:")]
    names, values = rows
    return int(dict(zip(names, values, strict=True))["InNoRoutes"])


def sysctl_path(name: str) -> Path:
    """The file of a sysctl key. Only `net.*` keys belong to a namespace; anything else is refused.

    An interface's name may have dots: "net.ipv4.conf.port.1.forwarding" is tried as written with
    slashes too ("net/ipv4/conf/port.1/forwarding").
    """
    parts = name.split("/") if "/" in name else name.split(".")
    if parts[0] != "net" or any(part in ("", "..", ".") for part in parts):
        raise EmulationError(f"'{name}' is not a key below net.")
    return Path("/proc/sys", *parts)


def identity(namespace: int) -> tuple[int, int]:
    """What tells a namespace apart from others that exist at the same time."""
    status = os.fstat(namespace)
    return status.st_dev, status.st_ino


def processes_in(identities: set[tuple[int, int]]) -> list[int]:
    """Pids of all processes, but this one, with a network namespace among `identities`."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            status = os.stat(f"/proc/{entry}/ns/net")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if (status.st_dev, status.st_ino) in identities:
            found.append(int(entry))
    return found


def _failing_line(stderr: str, text: str) -> str:
    """What `ip -batch` complained of, with the line it speaks of ("Command failed -:12")."""
    complaint = " ".join(stderr.split())
    _, found, number = stderr.rpartition("Command failed -:")
    digits = number.split()[0] if found and number.split() else ""
    lines = text.splitlines()
    if digits.isdigit() and 0 < int(digits) <= len(lines):
        return f"{complaint} (`{lines[int(digits) - 1]}`)"
    return complaint


def _on_a_thread(action: Callable[[], T]) -> T:
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(action())
        except BaseException as error:  # noqa: BLE001 - handed on to the caller just below
            failure.append(error)

    thread = threading.Thread(target=run, name="in-namespace")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")

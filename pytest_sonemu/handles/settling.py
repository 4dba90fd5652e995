"""What a container does, seen from outside by /proc alone: its processes and its listening sockets.

No right, no tool in the image and no exec is needed, so nothing that is looked at is disturbed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Literal

TCP_LISTEN = "0A"
UDP_UNCONNECTED = "07"
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that waits for others."""

    protocol: Literal["tcp", "udp"]
    address: IPv4Address | IPv6Address
    port: int
    inode: str = field(default="", compare=False)

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{self.protocol} {host}:{self.port}"


def listeners(pid: int, proc: Path = PROC) -> frozenset[Listener]:
    """The listening sockets in the network namespace of a process; none if it has ended."""
    found: set[Listener] = set()
    tables: tuple[tuple[Literal["tcp", "udp"], str], ...] = (("tcp", TCP_LISTEN), ("udp", UDP_UNCONNECTED))
    for protocol, state in tables:
        for family in ("", "6"):
            try:
                lines = (proc / str(pid) / "net" / f"{protocol}{family}").read_text().splitlines()[1:]
            except OSError:
                continue  # ended, or a kernel without IPv6
            for fields in (line.split() for line in lines):
                if fields[3] == state:
                    address, port = _endpoint(fields[1])
                    found.add(Listener(protocol, address, port, fields[9]))
    return frozenset(found)


def _endpoint(text: str) -> tuple[IPv4Address | IPv6Address, int]:
    """`0100007F:0050` as the kernel writes it: words in the machine's byte order (little-endian here)."""
    address, _, port = text.partition(":")
    raw = bytes.fromhex(address)
    turned = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    return (IPv4Address(turned) if len(turned) == 4 else IPv6Address(turned)), int(port, 16)


class Activity:
    """Watches one container: each `sample` differs from the last if it did something in between."""

    def __init__(self, container: str, proc: Path = PROC) -> None:
        self._container = container
        self._proc = proc
        self._members: dict[str, bool] = {}

    def sample(self, pid: int) -> tuple[object, ...]:
        """Processes, children they waited for, listening sockets; `pid` is the first process."""
        running = [entry.name for entry in self._proc.iterdir() if entry.name.isdigit()]
        self._members = {
            name: self._members[name] if name in self._members else self._is_member(name) for name in running
        }
        # A child that came and went between two samples shows in its parent's count of children's faults.
        marks = sorted((name, self._children_faults(name)) for name in running if self._members[name])
        sockets = frozenset((listener.inode, listener.port) for listener in listeners(pid, self._proc))
        return (*marks, sockets)

    def _is_member(self, name: str) -> bool:
        try:
            return self._container in (self._proc / name / "cgroup").read_text()
        except OSError:
            return False

    def _children_faults(self, name: str) -> str:
        try:
            return (self._proc / name / "stat").read_text().rpartition(")")[2].split()[8]
        except OSError:
            return ""

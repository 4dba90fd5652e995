"""The gate of one container: the FIFO on which its hold waits, and the files mounted into it.

The keeper keeps the FIFO open for reading and writing, so that letting go neither blocks nor fails
whether or not the hold has come to it yet.
"""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

SHARE_IN_CONTAINER = "/mnt/share"
HOLD_IN_CONTAINER = "/.sonemu/hold"
GATE_IN_CONTAINER = "/.sonemu/gate"
_FIFO = "go"


class Gate:
    """`share` is what the VNF sees as /mnt/share, where images put their results.

    `folder` is made, belongs to the bed's run directory, and is taken away with it."""

    def __init__(self, folder: Path, hosts: tuple[tuple[str, IPv4Address | IPv6Address], ...]) -> None:
        self.folder = folder / "gate"
        self.hosts_file = folder / "hosts"
        self.share = folder / "share"
        self.folder.mkdir(parents=True, mode=0o755)
        self.share.mkdir()
        # As /tmp: images write their results there as whatever user they are.
        self.share.chmod(0o1777)
        self.hosts_file.write_text(hosts_text(hosts))
        self.hosts_file.chmod(0o644)
        fifo = self.folder / _FIFO
        os.mkfifo(fifo)
        # Whatever the image's USER and our umask are.
        self.folder.chmod(0o755)
        fifo.chmod(0o644)
        self._descriptor = os.open(fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def argv(self, command: tuple[str, ...] | None) -> list[str]:
        """What the container is created with: the hold, then the image's own command, or only waiting."""
        head = [HOLD_IN_CONTAINER, f"{GATE_IN_CONTAINER}/{_FIFO}"]
        return [*head, "--wait"] if command is None else [*head, *command]

    def shut(self) -> None:
        """Before a start: no release meant for an earlier life is left in the FIFO."""
        try:
            while os.read(self._descriptor, 64):
                pass
        except BlockingIOError:
            return

    def release(self) -> None:
        """Let the container's own command go."""
        os.write(self._descriptor, b"\n")

    def close(self) -> None:
        os.close(self._descriptor)


def hosts_text(hosts: tuple[tuple[str, IPv4Address | IPv6Address], ...]) -> str:
    """An /etc/hosts with localhost and the names given."""
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    lines += [f"{address}\t{name}" for name, address in hosts if name != "localhost"]
    return "\n".join(lines) + "\n"

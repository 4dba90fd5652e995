"""What probes need of a bed: sockets that belong to a namespace they never enter, and a kernel's count."""

from __future__ import annotations

import socket as sockets
from typing import Protocol


class SocketFactory(Protocol):
    """Makes sockets in the namespaces of a bed; the bed's client is one.

    A socket belongs to the namespace in which it was made, so a probe is ordinary Python in the
    caller's own process. `endpoint` None stands for the bed's fabric, where all outer ends are.
    """

    def socket(
        self, instance: str | None, endpoint: str | None, family: int, kind: int, protocol: int = 0, /
    ) -> sockets.socket: ...

    def no_routes(self, instance: str, endpoint: str, /) -> int:
        """How many IPv4 packets that namespace's kernel has had no route for."""
        ...

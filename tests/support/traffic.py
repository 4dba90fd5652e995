"""Real traffic between endpoints, on sockets of their namespaces."""

from __future__ import annotations

import socket
import threading
from ipaddress import IPv4Address, IPv6Address

from pytest_sonemu.handles.endpoint import Endpoint


def bulk(
    source: Endpoint, target: Endpoint, address: IPv4Address | IPv6Address, size: int = 4_000_000
) -> int:
    """Send `size` bytes by one TCP connection, and return how many arrived. Raises OSError."""
    received = 0
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with target.socket(family) as listener:
        listener.settimeout(5)
        listener.bind((str(address), 0))
        listener.listen(1)

        def take() -> None:
            nonlocal received
            connection, _peer = listener.accept()
            connection.settimeout(5)
            with connection:
                while part := connection.recv(1 << 16):
                    received += len(part)

        taker = threading.Thread(target=take)
        taker.start()
        try:
            with source.socket(family) as sender:
                sender.settimeout(5)
                sender.connect((str(address), listener.getsockname()[1]))
                sender.sendall(b"x" * size)
        finally:
            taker.join(10)
    return received

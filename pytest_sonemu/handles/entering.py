"""This thread inside an endpoint's network namespace, for the time of a block: for root alone.

A namespace is entered by a descriptor, which the kernel gives for a socket of it. Both that and the entering
need rights over the namespace, which an ordinary user has not.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from pytest_sonemu.emulation.namespaces import enter_network, open_own
from pytest_sonemu.errors import CapabilityError
from pytest_sonemu.handles.factory import SocketFactory

_SIOCGSKNS = 0x894C


@contextmanager
def entered(factory: SocketFactory, instance: str, endpoint: str) -> Iterator[None]:
    """Be in that namespace, and afterwards where this thread was. Raises CapabilityError without rights."""
    before = open_own()
    try:
        try:
            with factory.socket(instance, endpoint, socket.AF_INET, socket.SOCK_DGRAM) as sock:
                inside = fcntl.ioctl(sock, _SIOCGSKNS)
            try:
                enter_network(inside)
            finally:
                os.close(inside)
        except PermissionError:
            raise CapabilityError(
                f"only root can enter the network namespace of '{endpoint}': use `with sockets():` for what"
                " is written on Python's sockets, run(…) and spawn_tool(…) for other programs"
            ) from None
        try:
            yield
        finally:
            enter_network(before)
    finally:
        os.close(before)

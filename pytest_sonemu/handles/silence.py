"""Keeping an endpoint's kernel from answering packets that are replayed to it.

A kernel answers a segment that belongs to no connection with a reset, a datagram for no port with an ICMP
error. Sockets of ours stand where these packets are for, each with a filter that takes nothing: the
kernel finds them, and drops what is for them without a word. They leave nothing: they end with the
replay, or with this process.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from pytest_sonemu.emulation.client import BedClient
from pytest_sonemu.emulation.protocol import Mute
from pytest_sonemu.errors import BedGoneError, EmulationError, NotFoundError, ProbeError
from pytest_sonemu.handles.recordings import ICMP, ICMPV6, TCP, UDP
from pytest_sonemu.planning.plan import Address

# Of the 1,024 descriptors that a process commonly may have open.
MOST_SOCKETS = 600
_IGNORE_ECHOES = {4: "net.ipv4.icmp_echo_ignore_all", 6: "net.ipv6.icmp.echo_ignore_all"}


@dataclass(frozen=True, slots=True)
class Ear:
    """Where packets of one conversation come in: an endpoint's own address and port, and the other's."""

    endpoint: str
    protocol: int
    address: Address
    port: int
    other: Address
    other_port: int


@dataclass
class Silence:
    """Holds ears deaf for an instance; close it at the end.

    A TCP port where nobody listens is taken whole. Where a server of the endpoint's own listens, each
    connection is taken by itself, so that others still reach the server.
    """

    client: BedClient
    instance: str
    _held: dict[Ear, socket.socket | None] = field(default_factory=dict)
    _ports: dict[tuple[str, int, Address, int], socket.socket] = field(default_factory=dict)
    _users: dict[tuple[str, int, Address, int], set[Ear]] = field(default_factory=dict)

    def hold(self, ear: Ear) -> None:
        """Make the kernel say nothing of packets that come in there. Raises ProbeError where it cannot."""
        if ear in self._held or ear.protocol in (ICMP, ICMPV6):
            return
        port = (ear.endpoint, ear.protocol, ear.address, ear.port)
        if port not in self._ports:
            taken = self._take_port(ear)
            if taken is None:
                self._held[ear] = self._take_connection(ear)
                return
            self._ports[port] = taken
        self._held[ear] = None
        self._users.setdefault(port, set()).add(ear)

    def release(self, ears: Iterable[Ear]) -> None:
        """Nothing more comes in there."""
        for ear in ears:
            if ear not in self._held:
                continue
            own = self._held.pop(ear)
            if own is not None:
                own.close()
                continue
            port = (ear.endpoint, ear.protocol, ear.address, ear.port)
            self._users[port].discard(ear)
            if not self._users[port]:
                self._ports.pop(port).close()

    def close(self) -> None:
        self.release(list(self._held))

    def _take_port(self, ear: Ear) -> socket.socket | None:
        """A socket for all that comes to a port, or None where there is one already."""
        kind = {TCP: socket.SOCK_STREAM, UDP: socket.SOCK_DGRAM}.get(ear.protocol, socket.SOCK_RAW)
        sock = self._open(ear, kind, ear.protocol if kind == socket.SOCK_RAW else 0)
        try:
            if kind == socket.SOCK_RAW:
                return sock
            sock.bind((str(ear.address), ear.port))
            if kind == socket.SOCK_STREAM:
                sock.listen(1)
        except OSError as error:
            sock.close()
            if error.errno == errno.EADDRINUSE and kind == socket.SOCK_STREAM:
                return None
            if error.errno == errno.EADDRINUSE:
                raise ProbeError(
                    f"{ear.endpoint} has a program of its own on UDP port {ear.port}, which would answer too;"
                    " replay to an endpoint that has none there, or stop it"
                ) from error
            raise ProbeError(f"{ear.endpoint} {ear.address} port {ear.port}: {error.strerror}") from error
        return sock

    def _take_connection(self, ear: Ear) -> socket.socket:
        sock = self._open(ear, socket.SOCK_STREAM, 0, "connection")
        try:
            sock.bind((str(ear.address), ear.port))
            sock.connect((str(ear.other), ear.other_port))
        except OSError as error:
            sock.close()
            raise ProbeError(
                f"{ear.endpoint} holds a connection from its port {ear.port} to {ear.other} port"
                f" {ear.other_port} itself: {error.strerror}"
            ) from error
        return sock

    def _open(self, ear: Ear, kind: int, protocol: int, mute: Mute = "port") -> socket.socket:
        if len(self._ports) + sum(each is not None for each in self._held.values()) >= MOST_SOCKETS:
            raise ProbeError(
                f"the recording has more than {MOST_SOCKETS // 2} conversations at once; replay it in parts"
            )
        family = socket.AF_INET if ear.address.version == 4 else socket.AF_INET6
        return self.client.socket(self.instance, ear.endpoint, family, kind, protocol, mute=mute)


class EchoSilence:
    """Of echo requests no socket relieves the kernel: a sysctl does, while any replay needs it.

    Thread-safe; one for a bed.
    """

    def __init__(self, client: BedClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str, int], tuple[int, str]] = {}

    def hold(self, instance: str, endpoint: str, version: int, until: ExitStack) -> None:
        """An endpoint's kernel answers no echo of this IP version, until the stack is closed."""
        key = (instance, endpoint, version)
        with self._lock:
            count, before = self._held.get(key, (0, ""))
            if not count:
                before = self._client.set_sysctl(instance, endpoint, _IGNORE_ECHOES[version], "1")
            self._held[key] = count + 1, before
        until.callback(self._let_go, key)

    def _let_go(self, key: tuple[str, str, int]) -> None:
        instance, endpoint, version = key
        with self._lock:
            count, before = self._held.pop(key)
            if count > 1:
                self._held[key] = count - 1, before
                return
            # With an instance, or a VNF that has stopped meanwhile, its settings are gone too.
            with suppress(BedGoneError, NotFoundError, EmulationError):
                self._client.set_sysctl(instance, endpoint, _IGNORE_ECHOES[version], before)

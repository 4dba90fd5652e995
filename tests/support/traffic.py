"""Real traffic between endpoints, on sockets of their namespaces."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from pytest_sonemu.handles.endpoint import Endpoint
from tests.support.frames import BROADCAST, Ear, Mouth, frame
from tests.support.machine import wait


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


class Numbered:
    """Numbered datagrams from one endpoint to another while a block lasts; then what became of them.

    Each 50th is answered: bridges learn where the other one is, and must not send what follows elsewhere.
    """

    def __init__(self, source: Endpoint, target: Endpoint, a_second: int) -> None:
        self._rate = a_second
        self.sent, self.came = 0, list[int]()
        address = str(target.ip())
        self._receiver = target.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._receiver.bind((address, 0))
        self._receiver.settimeout(0.5)
        self._sender = source.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sender.connect((address, self._receiver.getsockname()[1]))
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._send, self._receive)]

    def __enter__(self) -> Numbered:  # noqa: PYI034 - typing.Self is younger than Python 3.10
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._sender.close()
        self._receiver.close()

    def __repr__(self) -> str:
        return f"{self.sent} sent, {self.lost} lost, {self.twice} twice"

    def more(self, count: int, timeout: float = 10.0) -> bool:
        """Wait until so many more have come."""
        wanted, deadline = len(self.came) + count, time.monotonic() + timeout
        while len(self.came) < wanted and time.monotonic() < deadline:
            self._ended.wait(0.005)
        return len(self.came) >= wanted

    @property
    def lost(self) -> int:
        return self.sent - len(set(self.came))

    @property
    def twice(self) -> int:
        return len(self.came) - len(set(self.came))

    def _send(self) -> None:
        began = time.monotonic()
        while not self._ended.wait(0.0005):
            for _ in range(int((time.monotonic() - began) * self._rate) - self.sent):
                self._sender.send(self.sent.to_bytes(8, "big"))
                self.sent += 1

    def _receive(self) -> None:
        """Until nothing has come for half a second after the last was sent."""
        while True:
            try:
                number, sender = self._receiver.recvfrom(64)
                self.came.append(int.from_bytes(number, "big"))
                if len(self.came) % 50 == 0:
                    self._receiver.sendto(number, sender)
            except TimeoutError:
                if self._ended.is_set():
                    return


class Broadcast:
    """Numbered frames to everybody from one SAP, some 2,000 a second, while a block lasts.

    `heard` has the numbers that came to each of the SAPs, the sender's own among them.
    """

    def __init__(self, source: Endpoint, others: Sequence[Endpoint]) -> None:
        self._start = frame(BROADCAST, source.mac(), b"number ")
        self._mouth = Mouth(source, source.id)
        self._ears = {sap.id: Ear(sap) for sap in (source, *others)}
        self._reading = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.heard: dict[str, list[int]] = {name: [] for name in self._ears}
        self.sent = 0

    def __enter__(self) -> Broadcast:  # noqa: PYI034 - typing.Self is younger than Python 3.10
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._mouth.close()
        for ear in self._ears.values():
            ear.close()

    def more(self, count: int, timeout: float = 10.0) -> bool:
        """Wait until so many more have come to all others."""
        until = self.sent + count
        return wait(lambda: self._reached(until), timeout)

    def end(self) -> None:
        """Send no more, and hear what is on its way."""
        self._ended.set()
        self._thread.join()
        wait(lambda: self._reached(self.sent - 1), 1)

    def _send(self) -> None:
        while not self._ended.wait(0.0004):
            self._mouth.send(self._start + b"%06d" % self.sent)
            self.sent += 1
            self._listen()

    def _listen(self) -> None:
        # Not only when the test waits for some: an ear holds 256 frames.
        with self._reading:
            for name, ear in self._ears.items():
                self.heard[name] += [int(data[-6:]) for _, data in ear.heard() if b"number " in data]

    def _reached(self, number: int) -> bool:
        self._listen()
        _, *others = self.heard.values()
        return all(number <= max(numbers, default=-1) for numbers in others)

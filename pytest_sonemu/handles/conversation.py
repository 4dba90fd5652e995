"""A real conversation with a token in it, from an endpoint's own sockets to a listener of theirs or ours."""

from __future__ import annotations

import errno
import os
import secrets
import select
import socket
import struct
import time
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from pytest_sonemu.errors import NotRunningError, ProbeError
from pytest_sonemu.handles.factory import SocketFactory
from pytest_sonemu.handles.targets import Spot, Target, source_address
from pytest_sonemu.handles.trace_results import TraceProtocol
from pytest_sonemu.handles.tracking import Flow, Talk
from pytest_sonemu.handles.wire import checksum
from pytest_sonemu.planning.plan import DeploymentPlan

_IP_RECVERR, _IPV6_RECVERR = 11, 25
_PROTOCOLS = {"tcp": 6, "http": 6, "udp": 17}
# How long a server is waited for that has accepted the connection and may have nothing to say.
_SETTLE = 0.3
_ROOM = 65536


@dataclass(frozen=True, slots=True)
class Subject:
    """What is said: `port` for all but ICMP; `request` is HTTP's request line's target, `host` its Host."""

    protocol: TraceProtocol
    port: int = 0
    request: str = "/"
    host: str = ""


@dataclass
class Conversation:
    """One conversation at a time; `hold` is called once, and gives the token and all that is known then."""

    factory: SocketFactory
    plan: DeploymentPlan
    source: Spot
    target: Target
    subject: Subject
    listen: bool
    timeout: float

    def hold(self) -> Talk:
        """Speak and listen. Raises ProbeError if it cannot be tried."""
        token = f"sonemu-trace-{secrets.token_hex(12)}".encode()
        with ExitStack() as stack:
            if self.subject.protocol == "icmp":
                return self._echo(stack, token)
            listener = self._listener(stack)
            sock = self._socket(stack)
            code = sock.connect_ex((str(self.target.address), self.subject.port))
            flow = self._flow(sock)
            if code not in (0, errno.EINPROGRESS):
                return Talk(flow, token, os.strerror(code))
            speak = self._datagram if self.subject.protocol == "udp" else self._connection
            error, answer = speak(sock, listener, token, stack)
            if listener is not None and self.subject.protocol != "udp":
                # A conversation with ourselves ends without a farewell that nobody needs.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        whose: Literal["theirs", "ours"] = "ours" if listener is not None else "theirs"
        return Talk(flow, token, error, whose if answer else None, _status(answer))

    # -- sockets ----------------------------------------------------------------------------------

    @property
    def _family(self) -> int:
        return socket.AF_INET if self.target.address.version == 4 else socket.AF_INET6

    @property
    def _type(self) -> int:
        return socket.SOCK_DGRAM if self.subject.protocol == "udp" else socket.SOCK_STREAM

    def _socket(self, stack: ExitStack) -> socket.socket:
        sock = stack.enter_context(
            self.factory.socket(self.plan.instance, self.source.endpoint.id, self._family, self._type)
        )
        sock.setblocking(False)
        bound = source_address(self.source, self.target.address)
        sock.bind((str(bound) if bound else "", 0))
        if self.subject.protocol == "udp":
            level, option = (
                (socket.IPPROTO_IP, _IP_RECVERR)
                if self._family == socket.AF_INET
                else (socket.IPPROTO_IPV6, _IPV6_RECVERR)
            )
            sock.setsockopt(level, option, 1)
        return sock

    def _listener(self, stack: ExitStack) -> socket.socket | None:
        spot = self.target.spot
        if not self.listen or spot is None:
            return None
        try:
            made = self.factory.socket(self.plan.instance, spot.endpoint.id, self._family, self._type)
        except NotRunningError:
            return None  # what becomes of a packet to it is what the trace is to see
        sock = stack.enter_context(made)
        sock.setblocking(False)
        try:
            if self._type == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((str(self.target.address), self.subject.port))
            if self._type == socket.SOCK_STREAM:
                sock.listen(16)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                return None  # somebody listens there, or the address is one that is only translated
            raise ProbeError(
                f"no listener of ours at {spot.endpoint.id} port {self.subject.port}: {error.strerror}"
            ) from error
        return sock

    def _flow(self, sock: socket.socket) -> Flow:
        own = sock.getsockname()
        protocol = _PROTOCOLS[self.subject.protocol]
        return protocol, ip_address(own[0].partition("%")[0]), own[1], self.target.address, self.subject.port

    # -- speaking ---------------------------------------------------------------------------------

    def _connection(
        self, sock: socket.socket, listener: socket.socket | None, token: bytes, stack: ExitStack
    ) -> tuple[str, bytes]:
        """What the kernel complained of, and what came back."""
        say = self._request(token)
        answer, said, deadline = b"", False, time.monotonic() + self.timeout
        echo = _Echo(listener, stack, http=self.subject.protocol == "http")
        while True:
            poll = select.poll()
            poll.register(sock, select.POLLIN | (0 if said else select.POLLOUT))
            echo.register(poll)
            ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1e3))
            echo.serve(ready)
            try:
                if not said and ready.get(sock.fileno(), 0) & (
                    select.POLLOUT | select.POLLERR | select.POLLHUP
                ):
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code:
                        return os.strerror(code), answer
                    sock.send(say)
                    said = True
                    if listener is None and self.subject.protocol == "tcp":
                        deadline = min(deadline, time.monotonic() + _SETTLE)
                if said and ready.get(sock.fileno(), 0) & (select.POLLIN | select.POLLHUP | select.POLLERR):
                    part = sock.recv(_ROOM)
                    answer += part
                    if not part or self._enough(answer):
                        return "", answer
            except BlockingIOError:
                continue
            except OSError as error:
                return error.strerror or str(error), answer
            if time.monotonic() >= deadline:
                return ("" if said else "no answer"), answer

    def _datagram(
        self, sock: socket.socket, listener: socket.socket | None, token: bytes, stack: ExitStack
    ) -> tuple[str, bytes]:
        deadline = time.monotonic() + self.timeout
        echo = _Echo(listener, stack)
        try:
            sock.send(token)
            while (left := deadline - time.monotonic()) > 0:
                poll = select.poll()
                poll.register(sock, select.POLLIN)
                echo.register(poll)
                ready = dict(poll.poll(left * 1e3))
                echo.serve(ready)
                if sock.fileno() in ready:
                    return "", sock.recv(_ROOM)
        except OSError as error:
            return error.strerror or str(error), b""
        return "no answer", b""

    def _echo(self, stack: ExitStack, token: bytes) -> Talk:
        version = self.target.address.version
        protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
        sock = stack.enter_context(
            self.factory.socket(
                self.plan.instance, self.source.endpoint.id, self._family, socket.SOCK_RAW, protocol
            )
        )
        sock.setblocking(False)
        bound = source_address(self.source, self.target.address)
        if bound is not None:
            sock.bind((str(bound), 0))
        ident = secrets.randbelow(1 << 16)
        kind, reply = (8, 0) if version == 4 else (128, 129)
        body = struct.pack("!BBHHH", kind, 0, 0, ident, 1) + token
        if version == 4:  # of ICMPv6 the kernel sums up
            body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
        code = sock.connect_ex((str(self.target.address), 0))
        own = ip_address(sock.getsockname()[0].partition("%")[0])
        flow: Flow = (int(protocol), own, ident, self.target.address, ident)
        if code:
            return Talk(flow, token, os.strerror(code))
        deadline = time.monotonic() + self.timeout
        try:
            sock.send(body)
            while (left := deadline - time.monotonic()) > 0:
                poll = select.poll()
                poll.register(sock, select.POLLIN)
                if poll.poll(left * 1e3):
                    data = sock.recv(_ROOM)
                    message = data[(data[0] & 0xF) * 4 :] if version == 4 else data
                    if message[:1] == bytes([reply]) and message[8:] == token:
                        return Talk(flow, token, "", "theirs")
        except OSError as error:
            return Talk(flow, token, error.strerror or str(error))
        return Talk(flow, token, "no answer")

    def _request(self, token: bytes) -> bytes:
        if self.subject.protocol == "tcp":
            # Two line ends make servers of many protocols answer, if only to complain.
            return token + b"\r\n\r\n"
        lines = [
            f"GET {self.subject.request} HTTP/1.1",
            f"Host: {self.subject.host}",
            f"X-Sonemu-Trace: {token.decode()}",
            "Accept: */*",
            "Connection: close",
        ]
        return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()

    def _enough(self, answer: bytes) -> bool:
        return bool(answer) if self.subject.protocol == "tcp" else b"\r\n" in answer


class _Echo:
    """Our own listener: sends back what it hears; over HTTP, as a page."""

    def __init__(self, listener: socket.socket | None, stack: ExitStack, *, http: bool = False) -> None:
        self._listener, self._stack, self._http = listener, stack, http
        self._clients: dict[int, socket.socket] = {}

    def register(self, poll: select.poll) -> None:
        for sock in (*([self._listener] if self._listener else []), *self._clients.values()):
            poll.register(sock, select.POLLIN)

    def serve(self, ready: dict[int, int]) -> None:
        listener = self._listener
        if listener is None:
            return
        if listener.fileno() in ready:
            if listener.type == socket.SOCK_DGRAM:
                data, sender = listener.recvfrom(_ROOM)
                listener.sendto(data, sender)
                return
            client, _ = listener.accept()
            self._stack.enter_context(client)
            client.setblocking(False)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._clients[client.fileno()] = client
        for number in [number for number in ready if number in self._clients]:
            self._answer(number)

    def _answer(self, number: int) -> None:
        client = self._clients[number]
        try:
            data = client.recv(_ROOM)
            if data:
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
                client.send(head.encode() + data if self._http else data)
                return
        except OSError:
            pass  # a middlebox cut it off
        self._clients.pop(number).close()


def _status(answer: bytes) -> int | None:
    words = answer.split(None, 2)
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() else None

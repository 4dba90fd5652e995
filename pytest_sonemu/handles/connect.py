"""A TCP connection or a datagram from one endpoint to another, watched at every outer end on its way."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Literal

from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles.arguments import port_number, seconds
from pytest_sonemu.handles.bpf import Wanted
from pytest_sonemu.handles.factory import SocketFactory
from pytest_sonemu.handles.frames import TCP, UDP, Frame
from pytest_sonemu.handles.listeners import ListeningPlace
from pytest_sonemu.handles.observer import Observer, Watch
from pytest_sonemu.handles.results import ConnectResult, Protocol, Sighting
from pytest_sonemu.handles.route_errors import route_error
from pytest_sonemu.handles.sightings import Station, Tracker, sight, stations, unanswered_questions
from pytest_sonemu.handles.targets import Family, Place, Spot, Target, find_spot, find_target, source_address
from pytest_sonemu.handles.verdict import Evidence, SocketEnd, ended_in, judge
from pytest_sonemu.planning.plan import DeploymentPlan

_NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.EADDRNOTAVAIL}
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_ATTEMPTS = 2

Listener = Literal["theirs", "ours"]


def connect(
    factory: SocketFactory,
    observer: Observer,
    plan: DeploymentPlan,
    source: Place,
    target: Place,
    *,
    tcp: int | None = None,
    udp: int | None = None,
    listen: bool = False,
    timeout: float | str = 1.0,
    payload: bytes | None = None,
    family: Family | None = None,
) -> ConnectResult:
    """Try one TCP port or send one datagram, and say what became of it.

    Returns as soon as the outcome is certain; that nothing comes is certain after `timeout`.
    `listen=True` opens a listener of ours at the target meanwhile, if nobody listens there (a
    datagram is sent back by it). `payload` is a datagram's content (default: 16 random bytes).

    Raises NotFoundError for an unknown source or target, ProbeError if the probe cannot be made.
    """
    protocol, port = _protocol(tcp, udp)
    patience = seconds(timeout)
    start = find_spot(plan, source)
    end = find_target(plan, target, start.endpoint, family)
    for _ in range(_ATTEMPTS):
        probe = _Probe(factory, observer, plan, start, end, protocol, port, payload or os.urandom(16))
        result = probe.run(listen, patience)
        # What was not seen proves nothing while frames were missed.
        if not probe.missed or result.outcome in ("open", "refused", "no_route"):
            return result
    raise ProbeError(
        f"{protocol} {start} -> {end.text} port {port}: {probe.missed} frames went by unseen while other"
        " traffic filled the observer; probe again with less of it"
    )


def _protocol(tcp: int | None, udp: int | None) -> tuple[Protocol, int]:
    if (tcp is None) == (udp is None):
        raise ProbeError("connect needs one port: tcp=80 or udp=53")
    protocol: Protocol = "tcp" if tcp is not None else "udp"
    return protocol, port_number(tcp if tcp is not None else udp, protocol)


class _Probe:
    def __init__(
        self,
        factory: SocketFactory,
        observer: Observer,
        plan: DeploymentPlan,
        source: Spot,
        target: Target,
        protocol: Protocol,
        port: int,
        payload: bytes,
    ) -> None:
        self._factory, self._observer, self._plan = factory, observer, plan
        self._source, self._target = source, target
        self._protocol: Protocol = protocol
        self._port, self._payload = port, payload
        self._family = socket.AF_INET if target.address.version == 4 else socket.AF_INET6
        self._type = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        self._patience = 0.0
        self.missed = 0

    def run(self, listen: bool, timeout: float) -> ConnectResult:
        self._patience = timeout
        with ExitStack() as stack:
            listener = self._listener(stack) if listen else None
            sock = self._socket(stack)
            source_port: int = sock.getsockname()[1]
            tcp = self._protocol == "tcp"
            watch = stack.enter_context(self._observer.watch(self._wanted(source_port)))
            started = time.monotonic()
            deadline = started + timeout
            frames: list[Frame] = []
            answer: bytes | None = None
            if tcp:
                end, error = self._tcp(sock, watch, frames, deadline)
            else:
                end, error, answer = self._udp(sock, listener, watch, frames, deadline)
            duration = time.monotonic() - started
            frames += watch.frames()
            self.missed = watch.missed
            if listener is not None and tcp:
                # Nobody is on the other side of this connection: it goes without a farewell.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        whose: Listener = "ours" if listener is not None else "theirs"
        return self._result(frames, source_port, end, error, duration, whose, answer)

    def _result(
        self,
        frames: list[Frame],
        source_port: int,
        end: SocketEnd,
        error: str,
        duration: float,
        whose: Listener,
        answer: bytes | None,
    ) -> ConnectResult:
        places = stations(self._plan)
        seen = sight(frames, places, self._tracker(source_port))
        evidence = Evidence(
            source=self._source.endpoint.id,
            target=self._target.endpoint,
            protocol=self._protocol,
            end=end,
            seen=seen,
            error=error,
            questions=unanswered_questions(frames, places),
            links=tuple((station.at, station.link) for station in places.values()),
        )
        ended = ended_in(evidence)
        if ended is not None:
            with self._observer.counting:
                words = route_error(
                    self._factory, self._plan, frames, places, ended, lambda: self._comes_again(places, ended)
                )
            evidence = replace(evidence, route_error=words)
        verdict = judge(evidence)
        return ConnectResult(
            outcome=verdict.outcome,
            source=str(self._source),
            target=self._target.text,
            address=self._target.address,
            protocol=self._protocol,
            port=self._port,
            path=verdict.path,
            reason=verdict.reason,
            by=verdict.by,
            lost_at=verdict.lost_at,
            listener=whose if verdict.outcome == "open" else None,
            duration=duration,
            seen=seen,
            answer=answer,
        )

    def _tracker(self, source_port: int) -> Tracker:
        return Tracker(
            source=self._source.endpoint.id,
            protocol=TCP if self._protocol == "tcp" else UDP,
            source_port=source_port,
            port=self._port,
            address=self._target.address,
            payload=self._payload if self._protocol == "udp" else b"",
        )

    def _comes_again(self, places: dict[str, Station], where: Sighting) -> bool:
        """Send the first packet of another connection; whether it was seen where the last one was."""
        with ExitStack() as stack:
            sock = self._socket(stack)
            source_port: int = sock.getsockname()[1]
            watch = stack.enter_context(self._observer.watch(self._wanted(source_port)))
            sock.connect_ex((str(self._target.address), self._port))
            if self._protocol == "udp":
                with suppress(OSError):  # it may be refused as the last one was
                    sock.send(self._payload)
            frames: list[Frame] = []
            deadline = time.monotonic() + self._patience
            while watch.wait(deadline):
                frames += watch.frames()
                seen = sight(frames, places, self._tracker(source_port))
                if any((each.part, each.at, each.direction) == ("first", where.at, "in") for each in seen):
                    return True
        return False

    def _wanted(self, source_port: int) -> Wanted:
        tcp = self._protocol == "tcp"
        return Wanted(tcp=tcp, udp_ports=frozenset() if tcp else frozenset({self._port, source_port}))

    def _socket(self, stack: ExitStack) -> socket.socket:
        sock = stack.enter_context(
            self._factory.socket(self._plan.instance, self._source.endpoint.id, self._family, self._type)
        )
        sock.setblocking(False)
        # Its port is fixed before it sends, so that its packets are known.
        bound = source_address(self._source, self._target.address)
        sock.bind((str(bound) if bound else "", 0))
        return sock

    def _listener(self, stack: ExitStack) -> socket.socket | None:
        """A listener at the target, or None if somebody listens there already."""
        spot, address = self._target.spot, self._target.address
        if spot is None:
            raise ProbeError(f"listen=True needs a target in this instance; {address} is nobody's here")
        place = ListeningPlace(self._plan.instance, spot.endpoint.id, address, self._port, self._type)
        return stack.enter_context(self._observer.listeners.at(self._factory, place))

    def _tcp(
        self, sock: socket.socket, watch: Watch, frames: list[Frame], deadline: float
    ) -> tuple[SocketEnd, str]:
        code = sock.connect_ex((str(self._target.address), self._port))
        if code in _NO_ROUTE:
            return "no_route", os.strerror(code)
        if code not in (0, errno.EINPROGRESS):
            return "error", os.strerror(code)
        while watch.wait(deadline, writable=[sock.fileno()]):
            frames += watch.frames()
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                return "error", os.strerror(code)
            if _connected(sock):
                return "answered", ""
        return "silent", ""

    def _udp(
        self,
        sock: socket.socket,
        listener: socket.socket | None,
        watch: Watch,
        frames: list[Frame],
        deadline: float,
    ) -> tuple[SocketEnd, str, bytes | None]:
        # Else only a few kinds of ICMP error reach a datagram socket.
        if self._family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        code = sock.connect_ex((str(self._target.address), self._port))
        if code in _NO_ROUTE:
            return "no_route", os.strerror(code), None
        listeners = [listener.fileno()] if listener is not None else []
        try:
            sock.send(self._payload)
            while watch.wait(deadline, readable=[sock.fileno(), *listeners]):
                frames += watch.frames()
                if listener is not None:
                    _send_back(listener)
                try:
                    return "answered", "", sock.recv(65535)
                except BlockingIOError:
                    continue
        except OSError as error:
            if error.errno == errno.EPERM:  # a rule of the source's own dropped it
                return "silent", "", None
            return "error", error.strerror or str(error), None
        return "silent", "", None


def _connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            return False
        raise
    return True


def _send_back(listener: socket.socket) -> None:
    try:
        data, sender = listener.recvfrom(65535)
    except BlockingIOError:
        return
    listener.sendto(data, sender)

"""Many probes at once against a table of what may pass."""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_sonemu.errors import NotRunningError, ProbeError
from pytest_sonemu.handles.arguments import seconds
from pytest_sonemu.handles.policy_table import (
    PolicyResult,
    PolicyRow,
    PolicyRule,
    Table,
    read_table,
)
from pytest_sonemu.handles.results import ConnectResult, PingResult
from pytest_sonemu.handles.targets import common_versions, find_spot, find_target
from pytest_sonemu.planning.plan import DeploymentPlan

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from pytest_sonemu.handles.service import Service

# Nearly all of a probe is waiting for what does not come.
_AT_ONCE = 100
_TICK = 0.02
# Outcomes that a VNF which does not run may be the cause of.
_SILENT = frozenset({"dropped", "not_sent", "unanswered", "delivered"})
_RESET = struct.pack("ii", 1, 0)

_Key = tuple[str, str, str, int]


def check_policy(service: Service, table: Table, timeout: float | str) -> PolicyResult:
    """See `Service.policy`."""
    bed, patience = service._core.bed, seconds(timeout)
    plan = service._core.sight
    rules = tuple(each for rule in read_table(table, bed.files) for each in _by_version(plan, rule))
    began = time.monotonic()
    with _Listeners(service, rules) as listeners:
        if any(rule.protocol != "icmp" for rule in rules):
            bed.observer  # noqa: B018 - opened once, not by all at once
        with ThreadPoolExecutor(min(_AT_ONCE, len(rules)), thread_name_prefix="policy") as pool:
            rows = tuple(pool.map(partial(_probe, service, listeners, patience), rules))
    taken = time.monotonic() - began
    silent = any(row.outcome in _SILENT for row in rows)
    result = PolicyResult(rows, taken, bed.not_running(service.id) if silent else "")
    bed.journal.note("probe", repr(result), service.id, failed=not result.ok)
    return result


def _by_version(plan: DeploymentPlan, rule: PolicyRule) -> list[PolicyRule]:
    """The rule for each IP version, where source and target have both."""
    try:
        versions = common_versions(plan, rule.source, rule.target) if rule.version is None else ()
    except ProbeError as error:
        raise ProbeError(f"line {rule.line}: {error}") from error
    return [replace(rule, version=version) for version in versions] if len(versions) > 1 else [rule]


def _probe(service: Service, listeners: _Listeners, timeout: float, rule: PolicyRule) -> PolicyRow:
    from pytest_sonemu.handles.connect import connect
    from pytest_sonemu.handles.ping import ping

    bed, plan = service._core.bed, service._core.sight
    if rule.port is None:
        echo = ping(
            bed.client,
            plan,
            rule.source,
            rule.target,
            count=1,
            interval=0.01,
            size=56,
            timeout=timeout,
            family=rule.version,
        )
        return PolicyRow(rule, _outcome(echo), echo)
    result: ConnectResult = connect(
        bed.client,
        bed.observer,
        plan,
        rule.source,
        rule.target,
        tcp=rule.port if rule.protocol == "tcp" else None,
        udp=rule.port if rule.protocol == "udp" else None,
        timeout=timeout,
        family=rule.version,
    )
    if result.outcome == "open" and listeners.ours(rule):
        result = replace(result, listener="ours")
    return PolicyRow(rule, result.outcome, result)


def _outcome(echo: PingResult) -> str:
    if echo.received:
        return "open"
    if echo.error is None:
        return "dropped"
    return "no_route" if not echo.sent else "rejected"


class _Listeners:
    """Listeners of ours wherever a row goes and nobody listens yet: rules are tested, not servers."""

    def __init__(self, service: Service, rules: tuple[PolicyRule, ...]) -> None:
        self._service, self._rules = service, rules
        self._selector = selectors.DefaultSelector()
        self._ours: set[_Key] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="policy listeners", daemon=True)

    def ours(self, rule: PolicyRule) -> bool:
        return self._key(rule) in self._ours

    def __enter__(self) -> Self:
        wanted = {found for rule in self._rules if (found := self._key(rule)) is not None}
        try:
            for key in sorted(wanted):
                self._open(key)
        except BaseException:
            self._close()
            raise
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._close()

    def _key(self, rule: PolicyRule) -> _Key | None:
        plan = self._service._core.sight
        try:
            source = find_spot(plan, rule.source)
            target = find_target(plan, rule.target, source.endpoint, rule.version)
        except ProbeError as error:
            raise ProbeError(f"line {rule.line}: {error}") from error
        if target.spot is None or rule.port is None:
            return None
        return target.spot.endpoint.id, str(target.address), rule.protocol, rule.port

    def _open(self, key: _Key) -> None:
        endpoint, address, protocol, port = key
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        client = self._service._core.bed.client
        try:
            sock = client.socket(self._service.id, endpoint, family, kind)
        except NotRunningError:
            return  # what becomes of packets to it is what the rows are to see
        try:
            sock.setblocking(False)
            if protocol == "tcp":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
            if protocol == "tcp":
                sock.listen()
        except OSError as error:
            sock.close()
            if error.errno != errno.EADDRINUSE:
                raise ProbeError(
                    f"no listener of ours at {endpoint} {address} port {port}: {error.strerror}"
                ) from error
            return
        self._ours.add(key)
        self._selector.register(sock, selectors.EVENT_READ, protocol)

    def _serve(self) -> None:
        while not self._over.is_set():
            for key, _ in self._selector.select(_TICK):
                if isinstance(key.fileobj, socket.socket):
                    with contextlib.suppress(OSError):  # who asked may be gone already
                        _answer(key.fileobj, key.data)

    def _close(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()


def _answer(sock: socket.socket, protocol: str) -> None:
    if protocol == "udp":
        data, sender = sock.recvfrom(65535)
        sock.sendto(data, sender)
        return
    connection, _ = sock.accept()
    # The handshake was all that is wanted; no connection is left waiting for its end.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.close()

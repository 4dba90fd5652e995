"""What every endpoint can probe: VNFs, SAPs and hosts ping, connect, measure, capture and ask over HTTP.

All of it is Python in the test's own process, on sockets of the endpoint's namespace; no image
needs a tool for it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles.arguments import seconds
from pytest_sonemu.handles.namespaced import Namespaced
from pytest_sonemu.handles.results import (
    ConnectResult,
    PingResult,
    one_line,
)
from pytest_sonemu.handles.targets import Family, Place

if TYPE_CHECKING:
    import requests

    from pytest_sonemu.handles.capture import Capture
    from pytest_sonemu.handles.throughput import Throughput


Timeout = float | str | tuple[float | str | None, float | str | None] | None

# Outcomes that a VNF which does not run may be the cause of.
_SILENT = ("dropped", "not_sent", "unanswered", "delivered")


class Endpoint(Namespaced):
    """An endpoint of a running service, as one view sees it.

    web = service.vnf("web")
    assert web.ping("input").loss == 0
    """

    def ping(
        self,
        target: Place,
        count: int = 3,
        *,
        interval: float | str = 0.05,
        size: int | str = 56,
        df: bool = False,
        timeout: float | str = 1.0,
        interface: str | None = None,
        version: Family | None = None,
    ) -> PingResult:
        """Send `count` echo requests of `size` bytes, one every `interval` seconds.

        `target` is an endpoint ("server"), a connection point ("server:data"), a handle or an address.
        With `df` they must not be cut on their way.
        `interface` is the connection point they are sent from; None leaves it to the routes. `timeout` in
        seconds is how long the last reply is waited for. `version` 4 or 6 takes the target's address of that
        IP version; None takes IPv4 where there is any. Raises NotFoundError for an unknown target,
        ProbeError for a target without one address, and for a count or size that cannot be.
        """
        from pytest_sonemu.handles.ping import ping

        result = ping(
            self._core.bed.client,
            self._core.sight,
            self._source(interface),
            target,
            count=count,
            interval=interval,
            size=size,
            df=df,
            timeout=timeout,
            family=version,
        )
        self._core.bed.journal.note("probe", repr(result), self.id, failed=not result.received)
        return result

    def connect(
        self,
        target: Place,
        *,
        tcp: int | None = None,
        udp: int | None = None,
        listen: bool = False,
        timeout: float | str = 1.0,
        interface: str | None = None,
        version: Family | None = None,
    ) -> ConnectResult:
        """Try one TCP connection or UDP datagram, watched at every outer end on its way.

        `outcome` says what became of it ("open", "refused", "rejected", "dropped", …), `path` how far
        the way carries. With `listen` a listener of ours stands at the target for the time of the
        probe: for rules, not for servers. After `timeout` seconds what has not come does not come. `version`
        as for `ping`. Raises NotFoundError for an unknown target, ProbeError if the probe cannot be made.
        """
        from pytest_sonemu.handles.connect import connect

        bed = self._core.bed
        result = connect(
            bed.client,
            bed.observer,
            self._core.sight,
            self._source(interface),
            target,
            tcp=tcp,
            udp=udp,
            listen=listen,
            timeout=timeout,
            family=version,
        )
        if result.outcome in _SILENT and (absent := bed.not_running(self._core.plan.instance)):
            result = replace(result, reason=f"{absent}; {result.reason}")
        blame = result.lost_at or result.path.ended_at or ""
        bed.journal.note("probe", repr(result), self.id, failed=bool(blame), blame=blame)
        return result

    def capture(self, interface: str | None = None, filter: str = "") -> Capture:  # noqa: A002
        """Every frame at one interface, or at all of them, from the beginning of a `with` block to its end.

            with service.vnf("fw").capture("input", "tcp port 80") as capture:
                service.sap("input").http("http://server/")
            assert capture.packets[0].tcp.syn

        `filter` is written as for tcpdump, with names of the service as hosts (see `filters`). Raises
        NotFoundError for an unknown interface, ProbeError for a filter that cannot be read.
        """
        from pytest_sonemu.handles.capture import endpoint_capture

        return endpoint_capture(self._core.bed, self._core.plan, self._plan, interface, filter)

    def throughput(
        self,
        target: Place,
        protocol: Literal["tcp", "udp"] = "tcp",
        duration: float | str = 1.0,
        parallel: int = 1,
        *,
        rate: float | str | None = None,
        port: int = 0,
        interface: str | None = None,
        version: Family | None = None,
    ) -> Throughput:
        """Send as much as goes, or `rate` ("10Mbit"), for `duration` seconds in `parallel` streams.

            assert service.sap("input").throughput("server").rate > 100e6

        What counts is the payload that arrives at a listener of ours on `port` (0: any that is free; a
        firewall in between may let only one in). `version` as for `ping`.
        Raises ProbeError if the streams cannot be opened.
        """
        from pytest_sonemu.handles.throughput import throughput

        bed, source = self._core.bed, self._source(interface)
        what = f"throughput {protocol} {source} -> {target}"
        with bed.journal.noting("probe", what, self.id):
            result = throughput(
                bed.client,
                self._core.sight,
                source,
                target,
                protocol,
                duration=duration,
                parallel=parallel,
                rate=rate,
                port=port,
                family=version,
            )
        bed.journal.note("probe", repr(result), self.id)
        return result

    def path_mtu(self, target: Place, *, interface: str | None = None, version: Family | None = None) -> int:
        """The largest IP packet, in bytes, whose echo comes back from `target` without being cut.

        Measured by echoes, so a black hole that tells nobody is found too. `version` as for `ping`. Raises
        ProbeError if none comes back.
        """
        from pytest_sonemu.handles.throughput import path_mtu

        largest = max((each.mtu for each in self.interfaces), default=1500)
        bed, source = self._core.bed, self._source(interface)
        found = path_mtu(bed.client, self._core.sight, source, target, largest, version)
        bed.journal.note("probe", f"path MTU {source} -> {target}: {found} bytes", self.id)
        return found

    def http(
        self, url: str, *, method: str = "GET", timeout: Timeout = 5.0, **arguments: Any
    ) -> requests.Response:
        """One HTTP request from this endpoint: `sap.http("http://server/")`. Raises what requests raises.

        `arguments` are those of `requests.request`; `timeout` in seconds (None: no limit), or a
        pair of them, to connect and to answer. Names are the service's, proxies of the environment are not
        asked, and nothing is tried twice.
        """
        if not urlsplit(url).scheme:
            url = f"http://{url}"
        patience = _patience(timeout)
        began = time.monotonic()
        journal = self._core.bed.journal
        with self._session() as once:
            try:
                response = once.request(method, url, timeout=patience, **arguments)
            except OSError as error:  # requests' errors are of that kind
                journal.note("probe", f"{method} {url}: {one_line(str(error))}", self.id, failed=True)
                raise
        taken = time.monotonic() - began
        journal.note("probe", f"{method} {url} answered {response.status_code} after {taken:.3f} s", self.id)
        return response

    def _source(self, interface: str | None) -> str:
        return self.id if interface is None else f"{self.id}:{interface}"


def _patience(timeout: Timeout) -> float | tuple[float | None, float | None] | None:
    """As requests takes it: for both, or to connect and to answer."""
    if isinstance(timeout, tuple) and len(timeout) == 2:
        return seconds(timeout[0]), seconds(timeout[1])
    if isinstance(timeout, tuple):
        raise ProbeError(f"timeout: {timeout!r} is no pair of times, to connect and to answer")
    return seconds(timeout)

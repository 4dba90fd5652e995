"""A running service, and one view of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal

from pytest_sonemu.errors import NotFoundError
from pytest_sonemu.handles.results import ConnectResult, PingResult
from pytest_sonemu.handles.service_parts import ServiceParts
from pytest_sonemu.handles.targets import Family, Place, interface_of
from pytest_sonemu.handles.undo import UndoFailure, UndoStack
from pytest_sonemu.handles.vnf import Vnf

if TYPE_CHECKING:
    from pytest_sonemu.handles.flow import Flow
    from pytest_sonemu.handles.flow_task import Generator
    from pytest_sonemu.handles.path import Path
    from pytest_sonemu.handles.policy_table import PolicyResult, Table
    from pytest_sonemu.handles.replay import Sides, Vlans
    from pytest_sonemu.handles.replay_results import Replay
    from pytest_sonemu.handles.throughput import Throughput
    from pytest_sonemu.handles.trace_results import Trace


class Service(ServiceParts):
    """An instance of a network service that runs on a test bed.

        with TestBed("two-pops.yml") as bed:
            service = bed.start("firewall.son")
            assert service.connect("input", "server", tcp=80).outcome == "open"

    Views share the instance; each undoes what was changed through it.
    """

    def ping(
        self,
        source: Place,
        target: Place,
        count: int = 3,
        *,
        interval: float | str = 0.05,
        size: int | str = 56,
        df: bool = False,
        timeout: float | str = 1.0,
        version: Family | None = None,
    ) -> PingResult:
        """`Endpoint.ping` from a source named like the target; `"fw:input"` fixes the source's address."""
        at = interface_of(source)
        return self.endpoint(source).ping(
            target, count, interval=interval, size=size, df=df, timeout=timeout, interface=at, version=version
        )

    def connect(
        self,
        source: Place,
        target: Place,
        *,
        tcp: int | None = None,
        udp: int | None = None,
        listen: bool = False,
        timeout: float | str = 1.0,
        version: Family | None = None,
    ) -> ConnectResult:
        """`Endpoint.connect` from a source named like the target; `"fw:input"` fixes the source's address."""
        at = interface_of(source)
        return self.endpoint(source).connect(
            target, tcp=tcp, udp=udp, listen=listen, timeout=timeout, interface=at, version=version
        )

    def throughput(
        self,
        source: Place,
        target: Place,
        protocol: Literal["tcp", "udp"] = "tcp",
        duration: float | str = 1.0,
        parallel: int = 1,
        *,
        rate: float | str | None = None,
        port: int = 0,
        version: Family | None = None,
    ) -> Throughput:
        """`Endpoint.throughput` from a source named like the target, in payload bit/s."""
        at = interface_of(source)
        return self.endpoint(source).throughput(
            target, protocol, duration, parallel, rate=rate, port=port, interface=at, version=version
        )

    def path_mtu(self, source: Place, target: Place, *, version: Family | None = None) -> int:
        """`Endpoint.path_mtu` from a source named like the target, in bytes."""
        return self.endpoint(source).path_mtu(target, interface=interface_of(source), version=version)

    def trace(
        self,
        source: Place,
        target: Place,
        *,
        tcp: int | None = None,
        udp: int | None = None,
        icmp: bool = False,
        http: str | bool | None = None,
        count: int = 1,
        listen: bool = True,
        timeout: float | str = 1.0,
        version: Family | None = None,
    ) -> Trace:
        """Hold a real conversation and say which connection points it crossed, in order, each way.

            trace = service.trace("input", "server:data", tcp=80)
            assert trace.hops == ["fw:input", "fw:output", "server:data"]

        It carries a token, by which it is known again behind address translation and behind a proxy
        that ended it and began another (`terminated_at`). `tcp` and `udp` are ports; `http` is True, a
        path or a URL (with `tcp` as its port), of another host than the target's if that is a proxy.
        Where nobody listens at the target, a listener of ours answers, unless `listen` is False.
        With a `count`, so many conversations are held, and `ways` says how many took which way. `version`
        4 or 6 takes the target's address of that IP version; None takes IPv4 where there is any.

        Raises NotFoundError for an unknown source or target, ProbeError if it cannot be tried.
        """
        from pytest_sonemu.handles.trace import trace

        return trace(
            self._core.bed,
            self._core.sight,
            source,
            target,
            tcp=tcp,
            udp=udp,
            icmp=icmp,
            http=http,
            count=count,
            listen=listen,
            timeout=timeout,
            family=version,
        )

    def flow(
        self,
        source: Place,
        target: Place,
        *,
        udp: int | None = None,
        tcp: int | None = None,
        http: int | str | bool | None = None,
        rate: float | str | None = None,
        size: int | str | tuple[int | str, int | str] = 100,
        seed: int | None = None,
        servers: Sequence[str] | None = None,
        generator: str | Generator | None = None,
        version: Family | None = None,
    ) -> Flow:
        """Numbered, time-stamped packets that flow for the time of a `with` block.

            with service.flow("input", "server", udp=5000, rate="1000pps") as flow:
                service.vnf("fw").restart()
            assert flow.longest_gap < 1.0

        `udp`: datagrams to a listener of ours on that port of the target. `tcp`: records in one
        connection to such a listener, made anew when it breaks. `http` (True, a path, a port): requests
        to the target's own server, each on a connection of its own; an answer above 499 is none. `rate`
        in packets a second ("1000pps", the default; "50/s", HTTP's) or "10Mbit"; `size` in bytes of
        payload, or the smallest and largest, drawn by `seed` (default: the bed's). `servers` are the
        endpoints that listen, where they are not the target (a load balancer is). `generator` is another
        one than ours: an object with the methods of `Generator`, or the name of one that a plugin has.
        `version` 4 or 6 takes the target's address of that IP version; None takes IPv4 where there is any.

        Raises NotFoundError for an unknown endpoint, ProbeError if it cannot be tried.
        """
        from pytest_sonemu.handles.flow import make_flow

        return make_flow(
            self,
            source,
            target,
            udp=udp,
            tcp=tcp,
            http=http,
            rate=rate,
            size=size,
            seed=seed,
            servers=servers,
            generator=generator,
            family=version,
        )

    def replay(
        self,
        recording: str | os.PathLike[str],
        sides: Sides,
        *,
        speed: float | str = 1.0,
        timeout: float | str = 0.5,
        vlans: Vlans = "refuse",
    ) -> Replay:
        """Send a recorded conversation again, both sides of it, between endpoints of this service.

            sides = {"10.0.0.1": "input", "10.0.0.2": "server"}
            assert service.replay("attack.pcap", sides, speed="max").lost == ()

        `sides` says which endpoint stands for which recorded address; packets between others are skipped.
        They go out of the endpoints' interfaces with their addresses of the bed, in the order of the
        recording: one that follows packets of the other side waits until these have arrived, `timeout`
        seconds at most. `speed` 1.0 keeps the times of the recording, 2.0 is twice as fast, "max" (or 0) as
        fast as the order allows. `vlans` says what becomes of tags: "refuse", "strip" or "keep".

        The endpoints' kernels and programs do not answer: what is said is the recording. Raises ProbeError
        for a file that cannot be read or sent (see there what to do), NotFoundError for an unknown endpoint.
        """
        from pytest_sonemu.handles.replay import replay

        journal = self._core.bed.journal
        what = f"replay of {os.path.basename(recording)}"
        journal.note("probe", f"{what} begins", self.id)
        with journal.noting("probe", f"{what} ended", self.id):
            result = replay(
                self._core.bed, self.plan, recording, sides, speed=speed, timeout=timeout, vlans=vlans
            )
        blame = next((packet.lost_in or "" for packet in result.lost), "")
        journal.note("probe", repr(result), result.packets[0].source, failed=bool(result.lost), blame=blame)
        return result

    def policy(self, table: Table, *, timeout: float | str = 0.5) -> PolicyResult:
        """Try many connections at once, and compare with a table of what may pass.

            assert service.policy('''
                from   to      proto  port     verdict
                input  server  tcp    80       allow
                input  server  tcp    22,3306  drop
                input  server  icmp   -        allow
            ''')

        A text, the path of a file (blanks, `|` or commas between columns) or rows. Protocols are "tcp", "udp"
        and "icmp", each in both IP versions where both ends have both, or of one: "tcp6", "icmp4". Verdicts
        are "allow", "deny" (it does not arrive), "drop", "reject" or an outcome of `connect`. Rules are
        tested, not servers: where nobody listens, a listener of ours does. What has not come after `timeout`
        seconds does not come. Raises ProbeError for a table that cannot be read, NotFoundError.
        """
        from pytest_sonemu.handles.policy import check_policy

        return check_policy(self, table, timeout)

    def path(self, path_id: str) -> Path:
        """A forwarding path. Raises NotFoundError."""
        from pytest_sonemu.handles.path import Path
        from pytest_sonemu.handles.trace import find_path

        return Path(self._core, find_path(self.plan, path_id))

    def scale(self, vnf_id: str, count: int) -> list[Vnf]:
        """More or fewer replicas of a VNF whose data interfaces are all in E-LANs; returned when ready.

            web, web2, web3 = service.scale("web", 3)

        The VNF itself is the first, the others are `web.2`, `web.3`, …: of its image, with its options,
        in its links at addresses of their own; their names are in everybody's /etc/hosts. The last go
        first. When the view ends there are as many as before. Raises PlanningError where an interface is
        in a link that takes no more members, PlacementError, NotReadyError, EmulationError; then all is
        as before.
        """
        from pytest_sonemu.handles.replacing import scale

        scaled = scale(self._core, self._undo, vnf_id, count)
        return [Vnf(self._core, plan, self._undo) for plan in scaled]

    def stop(self) -> None:
        """End the instance: its containers and links are gone when this returns. May be called again."""
        if self._core.stopped:
            return
        with suppress(NotFoundError):  # somebody else has stopped it
            self._core.bed.client.undo(self.id)
        self._core.stopped = True
        self._core.bed.forget(self.id)

    # -- views ------------------------------------------------------------------------------------

    def view(self, test: str = "") -> Service:
        """The same instance with an undo stack of its own. With the name of a `test` chance on links is its
        own: it does not matter which tests ran before."""
        undo = UndoStack(self._core.bed.journal, time.time(), test)
        self._core.bed.reseed(undo)
        return Service(self._core, undo)

    def close_view(self) -> Sequence[UndoFailure]:
        """Undo what was changed through this view, the last change first; the steps that failed."""
        failures = self._undo.close()
        self._core.settle()
        return failures

    @contextmanager
    def undo(self) -> Iterator[None]:
        """Undo at the end of a `with` block what was changed inside it, through this view's handles.

            for rate in ("1Mbit", "10Mbit"):
                with service.undo():
                    service.vnf("fw").sysctl("net.ipv4.ip_forward", 0)

        Blocks may be nested. What commands change (`exec`, `spawn`) stays, and is compared at the end of
        the test as ever. Raises UndoError.
        """
        with self._undo.block():
            yield

"""An endpoint's network namespace: addresses and interfaces, sockets from it, ports and programs in it."""

from __future__ import annotations

import socket as sockets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Literal

from pytest_sonemu.errors import BedGoneError, NotFoundError, ProbeError
from pytest_sonemu.handles.arguments import port_number, seconds
from pytest_sonemu.handles.core import InstanceCore
from pytest_sonemu.handles.results import CommandResult, Interface, OuterAddress
from pytest_sonemu.handles.targets import Family, find_spot, find_target
from pytest_sonemu.handles.undo import UndoStack
from pytest_sonemu.planning.plan import EndpointPlan, InterfacePlan

if TYPE_CHECKING:
    import requests

    from pytest_sonemu.handles.background import BackgroundProcess
    from pytest_sonemu.handles.interface import InterfaceHandle


LOOPBACK = "127.0.0.1"


class Namespaced:
    """What stands in a network namespace of its own, and what speaks from there."""

    def __init__(self, core: InstanceCore, plan: EndpointPlan, undo: UndoStack) -> None:
        self._core, self._given, self._undo = core, plan, undo

    def __repr__(self) -> str:
        addresses = ", ".join(
            f"{interface.name} {address.ip}"
            for interface in self._plan.interfaces
            for address in interface.addresses
        )
        return f"<{type(self).__name__} {self.id} in {self.pop}: {addresses or 'no address'}>"

    @property
    def _plan(self) -> EndpointPlan:
        # Looked up anew: a change of the running instance makes it another.
        return self._core.plan.endpoint(self._given.id) or self._given

    @property
    def instance(self) -> str:
        """The name, on its bed, of the instance that it is in."""
        return self._core.plan.instance

    @property
    def id(self) -> str:
        """What the service calls it ("fw", "input")."""
        return self._given.id

    @property
    def pop(self) -> str:
        """The PoP it stands in."""
        return self._plan.pop

    def ip(
        self, connection_point: str | None = None, *, version: Family | None = None
    ) -> IPv4Address | IPv6Address:
        """The address of a connection point, or, where it has just one address, of the endpoint.

        `version` is 4 or 6; None takes IPv4 where there is any. Raises NotFoundError for an unknown point,
        ProbeError where that is none or several.
        """
        place = self.id if connection_point is None else f"{self.id}:{connection_point}"
        return find_target(self._core.plan, place, family=version).address

    def mac(self, connection_point: str | None = None) -> str:
        """The MAC address of a connection point, or of the only one."""
        return self._interface(connection_point).mac

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """The interfaces as they are now, with addresses and counters, without `lo`."""
        from pytest_sonemu.handles.interfaces import read_interfaces

        client = self._core.bed.client
        return read_interfaces(client, self._core.plan.instance, self._plan, client.past())

    def interface(self, connection_point: str) -> InterfaceHandle:
        """One interface by its connection point; it can be taken down. Raises NotFoundError."""
        from pytest_sonemu.handles.interface import InterfaceHandle

        plan = self._interface(connection_point)

        def read() -> Interface:
            there = {interface.name: interface for interface in self.interfaces}
            if plan.name not in there:
                raise NotFoundError(f"interface of {self.id}", plan.name, there)
            return there[plan.name]

        return InterfaceHandle(self._core, self.id, plan, self._undo, read)

    def session(self) -> requests.Session:
        """A `requests.Session` whose connections come from this endpoint; names of the service resolve.

        It is closed with its view.
        """
        made = self._session()
        self._undo.push(made.close, f"HTTP session of {self.id}")
        return made

    def socket(
        self,
        family: int = sockets.AF_INET,
        type: int = sockets.SOCK_STREAM,
        protocol: int = 0,
    ) -> sockets.socket:
        """A socket of this endpoint's network namespace; it is closed with its view.

        It is an ordinary socket of this process, raw and packet sockets included.
        """
        made = self._core.bed.client.socket(self._core.plan.instance, self.id, family, type, protocol)
        self._undo.push(made.close, f"socket of {self.id}")
        return made

    def forward(
        self, port: int, *, protocol: Literal["tcp", "udp"] = "tcp", outer: int | None = None
    ) -> OuterAddress:
        """Make a port reachable from this machine itself: `http://{vnf.forward(80)}/` in a browser.

        It stands on 127.0.0.1, as `outer` or any free port, until the view ends; one that the package
        publishes stays. Raises EmulationError where `outer` is taken, ProbeError for a port or protocol
        that cannot be.
        """
        port_number(port)
        if outer is not None:
            port_number(outer, "outer")
        if protocol not in ("tcp", "udp"):
            raise ProbeError(f"protocol: {protocol!r} cannot be forwarded; write 'tcp' or 'udp'")
        client, instance = self._core.bed.client, self._core.plan.instance
        before = set(self.published.values())
        made = client.forward(instance, self.id, port, protocol, outer)
        address = OuterAddress(LOOPBACK, made.outer)
        if address not in before:

            def end() -> None:
                with suppress(BedGoneError):
                    client.unforward(instance, self.id, made.outer)

            self._undo.push(end, f"forward of {self.id} port {port}")
        return address

    @property
    def published(self) -> dict[int, OuterAddress]:
        """Its ports that are reached from this machine: those that the package publishes, and `forward`."""
        return {
            one.port: OuterAddress(LOOPBACK, one.outer)
            for state in self._core.bed.client.describe().instances
            if state.plan.instance == self._core.plan.instance
            for one in state.forwards
            if one.endpoint == self.id
        }

    def run(
        self,
        *command: str | Sequence[str],
        check: bool = False,
        timeout: float | str = 30.0,
        env: Mapping[str, str] | None = None,
        stdin: str | bytes | None = None,
    ) -> CommandResult:
        """Run a program of this machine in the endpoint's network namespace, as this user.

        `service.sap("input").run("ip", "route")`, or in one as a list or a text: the program needs not be
        in any image; it has the right to raw sockets and to the namespace's network, and no other. There
        is no shell. `env` is added to this process's own variables; it reads `stdin`, else nothing. Raises
        ProbeError if this machine has no such program, on time-out and, with `check`, for a status other
        than 0.
        """
        from pytest_sonemu.handles.programs import Surroundings, run_program, split

        patience, surroundings = seconds(timeout), Surroundings.of(env, stdin)

        def run() -> CommandResult:
            argv = split(command[0]) if len(command) == 1 else [str(word) for word in command]
            return run_program(
                self._core.bed.client, self._core.plan.instance, self.id, tuple(argv), patience, surroundings
            )

        words = command[0] if len(command) == 1 else command
        with self._changing():
            result = self._core.bed.journal.command(f"run `{_shown(words)}`", self.id, run)
        return result.check() if check else result

    def tool(
        self,
        command: str | Sequence[str],
        timeout: float | str = 30.0,
        *,
        check: bool = False,
        env: Mapping[str, str] | None = None,
        stdin: str | bytes | None = None,
    ) -> CommandResult:
        """As `run`, written in one text: `service.vnf("web").tool("ss -tln")`.

        There is no shell: quotes hold words together, nothing is expanded. Raises ProbeError as `run` does.
        """
        return self.run(command, check=check, timeout=timeout, env=env, stdin=stdin)

    def spawn_tool(
        self,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: str | bytes | None = None,
    ) -> BackgroundProcess:
        """As `tool`, and go on: `service.vnf("web").spawn_tool("tcpdump -l -n")` ends with the view.

        Its output is live. There is no shell; a text is split into words. Rights, `env` and `stdin` are as
        for `run`. Raises ProbeError if this machine has no such program.
        """
        return self._spawn_program(command, env, stdin)

    def create_connection(
        self, address: tuple[str, int], timeout: float | str | None = 10.0
    ) -> sockets.socket:
        """As `socket.create_connection`, from this endpoint; names of the service resolve.

        For asyncio: `await asyncio.open_connection(sock=sap.create_connection(("server", 80)))`. It is
        closed with its view. Raises OSError as Python's does.
        """
        patience = seconds(timeout)
        with self.sockets():
            made = sockets.create_connection(address, patience)
        self._undo.push(made.close, f"connection of {self.id}")
        return made

    @contextmanager
    def sockets(self) -> Iterator[None]:
        """Within the block Python's sockets of this thread and its tasks are this endpoint's.

            with service.sap("input").sockets():
                urllib.request.urlopen("http://server/")

        `socket.socket`, `create_connection` and `getaddrinfo`, and so asyncio, http.client and whatever
        is written on them, speak from here, and names of the service resolve. Other threads, and what is
        no Python, are not concerned: for programs there is `run`.
        """
        from pytest_sonemu.handles.http import plan_resolver
        from pytest_sonemu.handles.speaking import Speaker, speaking

        client, instance = self._core.bed.client, self._core.plan.instance

        def open_socket(family: int, kind: int, protocol: int) -> sockets.socket:
            return client.socket(instance, self.id, family, kind, protocol)

        with speaking(Speaker(open_socket, plan_resolver(self._core.plan, self._plan))):
            yield

    @contextmanager
    def namespace(self) -> Iterator[None]:
        """Within the block this thread is in the endpoint's network namespace: for root alone.

            with service.sap("input").namespace():
                scapy.sendp(frame, iface="input")

        For C libraries and what else opens sockets by itself, and for programs that are started here; sockets
        that were made inside stay there, and so do threads that were started inside; others are not
        concerned. Names of the service do not resolve. Raises CapabilityError for who may not: `sockets()`,
        `run` and `spawn_tool` need no rights.
        """
        from pytest_sonemu.handles.entering import entered

        with self._changing(), entered(self._core.bed.client, self._core.plan.instance, self.id):
            yield

    def _spawn_program(
        self, command: str | Sequence[str], env: Mapping[str, str] | None, stdin: str | bytes | None
    ) -> BackgroundProcess:
        from pytest_sonemu.handles.background import BackgroundProcess
        from pytest_sonemu.handles.programs import SpawnedProgram, Surroundings, split

        surroundings = Surroundings.of(env, stdin)
        undo_change = self._begin_change()
        try:
            with self._core.bed.journal.noting("did", f"spawn `{_shown(command)}`", self.id):
                argv = split(command)
                running = SpawnedProgram(
                    self._core.bed.client, self._core.plan.instance, self.id, argv, surroundings
                )
        except BaseException:
            undo_change()
            raise
        process = BackgroundProcess(argv, self.id, running)

        def end() -> None:
            process.stop()
            undo_change()

        self._undo.push(end, f"{self.id}: `{_shown(command)}` ended")
        return process

    def _begin_change(self) -> Callable[[], None]:
        """Commands may change this endpoint, in ways that no step of ours takes back, until the call."""
        return self._core.changes.begin(self.id)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """As `_begin_change`, for a block."""
        end = self._begin_change()
        try:
            yield
        finally:
            end()

    def _session(self) -> requests.Session:
        from pytest_sonemu.handles.http import plan_resolver, session

        resolve = plan_resolver(self._core.plan, self._plan)
        return session(self._core.bed.client, self._core.plan.instance, self.id, resolve)

    def _interface(self, connection_point: str | None) -> InterfacePlan:
        if connection_point is not None:
            spot = find_spot(self._core.plan, f"{self.id}:{connection_point}")
            if spot.interface is not None:
                return spot.interface
        if len(self._plan.interfaces) != 1:
            known = ", ".join(interface.connection_point for interface in self._plan.interfaces) or "none"
            raise ProbeError(f"{self.id} has not just one connection point; name one of: {known}")
        return self._plan.interfaces[0]


def _shown(command: str | Sequence[object]) -> str:
    """A command as a person would write it."""
    return command if isinstance(command, str) else " ".join(map(str, command))

"""A bed made of nothing but kernel parts, from a DeploymentPlan: namespaces, veth pairs, tc, bridges.

For tests of probes, which want real frames and no Docker. It is a socket factory as the bed's client is.
"""

from __future__ import annotations

import ctypes
import os
import socket as sockets
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_interface, ip_network
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from pytest_sonemu.emulation.namespaces import count_no_routes
from pytest_sonemu.planning.batches import endpoint_batch, fabric_batches, namespace_sysctls
from pytest_sonemu.planning.plan import (
    Bridge,
    DeploymentPlan,
    EndpointKind,
    EndpointPlan,
    InterfacePlan,
    LinkEnd,
    LinkPlan,
    RoutePlan,
)

if TYPE_CHECKING:
    from typing_extensions import Self

_CLONE_NEWNET = 0x40000000
# Without accept_dad=0 a router has no address to look for its neighbours with for one second; with the
# usual limits a kernel sends six ICMP errors to one address and then one a second.
_QUIET = (
    ("net.ipv4.icmp_ratelimit", "0"),
    ("net.ipv6.icmp.ratelimit", "0"),
    ("net.ipv6.conf.default.disable_ipv6", "1"),
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv6.conf.all.accept_dad", "0"),
    ("net.ipv4.ip_forward", "0"),
)
_LIBC = ctypes.CDLL(None, use_errno=True)
Result = TypeVar("Result")


class Namespace:
    """An anonymous network namespace, kept by a descriptor of ours alone."""

    def __init__(self) -> None:
        def make() -> int:
            if _LIBC.unshare(_CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "unshare")
            for key, value in _QUIET:
                _sysctl(key, value)
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

        self.fd = _in_thread(make)
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}"

    def call(self, function: Callable[[], Result]) -> Result:
        """Run a function in this namespace."""

        def inside() -> Result:
            if _LIBC.setns(self.fd, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            return function()

        return _in_thread(inside)

    def socket(self, family: int, kind: int, protocol: int = 0) -> sockets.socket:
        return self.call(lambda: sockets.socket(family, kind, protocol))

    def sysctl(self, key: str, value: str) -> None:
        self.call(lambda: _sysctl(key, value))

    def run(self, *argv: str, text: str = "") -> str:
        done = subprocess.run(
            ["nsenter", f"--net={self.path}", *argv],
            input=text,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"{argv}: {done.stderr}\n{text}")
        return done.stdout

    def nft(self, rules: str) -> None:
        self.run("nft", "-f", "-", text=rules)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class KernelBed:
    """Carries out the network part of one plan; everything is gone when it is closed."""

    def __init__(self, plan: DeploymentPlan) -> None:
        self.plan = plan
        self.fabric = Namespace()
        self.spaces = {endpoint.id: Namespace() for endpoint in plan.endpoints}
        try:
            self._wire()
        except BaseException:
            self.close()
            raise

    def socket(
        self, instance: str | None, endpoint: str | None, family: int, kind: int, protocol: int = 0, /
    ) -> sockets.socket:
        if endpoint is None:
            return self.fabric.socket(family, kind, protocol)
        assert instance == self.plan.instance
        return self.spaces[endpoint].socket(family, kind, protocol)

    def no_routes(self, instance: str, endpoint: str, /) -> int:
        assert instance == self.plan.instance
        return count_no_routes(self.spaces[endpoint].fd)

    def stop(self, endpoint: str) -> None:
        """As when a VNF's container ends: its namespace and its interfaces go, on both sides."""
        outers = [interface.outer for interface in self._endpoint(endpoint).interfaces]
        self.fabric.run("ip", "-batch", "-", text="".join(f"link del {outer}\n" for outer in outers))
        self.spaces[endpoint].close()

    def listen(self, endpoint: str, port: int, family: int = sockets.AF_INET) -> sockets.socket:
        sock = self.spaces[endpoint].socket(family, sockets.SOCK_STREAM)
        sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        sock.bind(("", port))
        sock.listen()
        return sock

    def close(self) -> None:
        self.fabric.close()
        for space in self.spaces.values():
            space.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _endpoint(self, endpoint: str) -> EndpointPlan:
        found = self.plan.endpoint(endpoint)
        assert found is not None
        return found

    def _wire(self) -> None:
        for endpoint in self.plan.endpoints:
            for key, value in (*namespace_sysctls(endpoint.kind), *endpoint.sysctls):
                self.spaces[endpoint.id].sysctl(key, value)
        for key, value in namespace_sysctls(None):
            # The bridge's keys are there only where something has loaded br_netfilter.
            if not key.startswith("net.bridge.") or Path("/proc/sys/net/bridge").exists():
                self.fabric.sysctl(key, value)
        for batch in fabric_batches(self.plan, lambda endpoint: self.spaces[endpoint].path):
            self.fabric.run(*batch.argv, text=batch.text)
        for endpoint in self.plan.endpoints:
            batch = endpoint_batch(endpoint)
            self.spaces[endpoint.id].run(*batch.argv, text=batch.text)


class PlanBuilder:
    """Makes small plans: `builder.link("l1", "input", "fw:input")` gives both ends addresses and MACs."""

    def __init__(self, *, ipv6: bool = False) -> None:
        self.ipv6 = ipv6
        self._interfaces: dict[str, list[InterfacePlan]] = {}
        self._routes: dict[str, list[RoutePlan]] = {}
        self._links: list[LinkPlan] = []
        self._transparent: set[str] = set()
        self._count = 0

    def transparent(self, endpoint: str) -> None:
        self._transparent.add(endpoint)

    def link(self, link_id: str, *members: str, management: bool = False, subnet: int | None = None) -> None:
        number = len(self._links) if subnet is None else subnet
        ends = []
        for place, member in enumerate(members, start=1):
            endpoint, _, name = member.partition(":")
            self._count += 1
            addresses = [ip_interface(f"10.30.{number}.{place}/24")]
            if self.ipv6:
                addresses.append(ip_interface(f"fd00:0:0:{number:x}::{place}/64"))
            interface = InterfacePlan(
                name=name or endpoint,
                connection_point=name or endpoint,
                outer=f"o{self._count}",
                mac=f"02:00:00:00:00:{self._count:02x}",
                addresses=() if endpoint in self._transparent else tuple(addresses),
                link=link_id,
            )
            self._interfaces.setdefault(endpoint, []).append(interface)
            ends.append(LinkEnd(endpoint, interface.name, interface.outer, "pop1"))
        bridge = Bridge(f"b-{link_id}", "pop1", tuple(end.outer for end in ends))
        lan = len(members) > 2
        self._links.append(
            LinkPlan(
                link_id,
                "E-LAN" if lan else "E-Line",
                "direct",
                tuple(ends),
                bridges=(bridge,) if lan else (),
                management=management,
                subnets=(ip_network(f"10.30.{number}.0/24"),),
            )
        )

    def route(self, endpoint: str, destination: str, gateway: str) -> None:
        via = ip_interface(gateway).ip
        interface = next(
            interface.name
            for interface in self._interfaces[endpoint]
            if any(via in address.network for address in interface.addresses)
        )
        self._routes.setdefault(endpoint, []).append(RoutePlan(ip_network(destination), via, interface))

    def build(self, *forwarding: str, saps: tuple[str, ...] = ("input", "output")) -> DeploymentPlan:
        endpoints = []
        for endpoint, interfaces in self._interfaces.items():
            sysctls = [("net.ipv6.conf.all.disable_ipv6", "0" if self.ipv6 else "1")]
            sysctls.append(("net.ipv6.conf.default.disable_ipv6", sysctls[0][1]))
            if endpoint in forwarding:
                sysctls += [("net.ipv4.ip_forward", "1"), ("net.ipv6.conf.all.forwarding", "1")]
            kind: EndpointKind = "sap" if endpoint in saps else "vnf"
            routes = tuple(self._routes.get(endpoint, ()))
            endpoints.append(
                EndpointPlan(
                    endpoint,
                    kind,
                    "pop1",
                    tuple(interfaces),
                    routes,
                    sysctls=tuple(sysctls),
                    transparent=endpoint in self._transparent,
                )
            )
        return DeploymentPlan("bed", "svc", 1, "service", "test", tuple(endpoints), tuple(self._links))


def firewall_plan(*, ipv6: bool = False, forwarding: bool = True) -> DeploymentPlan:
    """input - fw - server, with the routes that a forwarding path gives."""
    builder = PlanBuilder(ipv6=ipv6)
    builder.link("l-in", "input", "fw:input")
    builder.link("l-out", "fw:output", "server:data")
    builder.route("input", "10.30.1.0/24", "10.30.0.2")
    builder.route("server", "10.30.0.0/24", "10.30.1.1")
    if ipv6:
        builder.route("input", "fd00:0:0:1::/64", "fd00::2")
        builder.route("server", "fd00::/64", "fd00:0:0:1::1")
    return builder.build(*(("fw",) if forwarding else ()))


def _sysctl(key: str, value: str) -> None:
    Path("/proc/sys", key.replace(".", "/")).write_text(value)


def _in_thread(function: Callable[[], Result]) -> Result:
    """A thread's namespace is its own, and goes with it."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(function).result()

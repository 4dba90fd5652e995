"""A fabric of real namespaces and veth pairs with a relay in it, for tests and benchmarks."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar

from pytest_sonemu.emulation import namespaces
from pytest_sonemu.relay.client import RelayClient, relay_argv
from pytest_sonemu.relay.core import CORE
from pytest_sonemu.relay.model import FlowSpec, LinkSpec

T = TypeVar("T")
_SO_TIMESTAMPNS, _SO_RCVBUFFORCE = 35, 33
_SIOCGIFFLAGS, _IFF_RUNNING = 0x8913, 0x40
SYSCTLS = (("net.ipv6.conf.all.disable_ipv6", "1"), ("net.ipv6.conf.default.disable_ipv6", "1"))


def core_path() -> Path:
    """The core to be tested: the one that was built, or the one with sanitizers of `test_sanitized.py`."""
    return Path(os.environ.get("SONEMU_TEST_CORE", CORE))


def examples(count: int) -> int:
    """How many examples hypothesis tries: fewer where a sanitizer makes each of them slow."""
    return count // 4 if "SONEMU_TEST_CORE" in os.environ else count


class Site:
    """A namespace with one interface `eth`, whose other end lies in the fabric under the site's name."""

    def __init__(self, lab: Lab, name: str, address: str) -> None:
        self.lab, self.name, self.address = lab, name, address
        self.namespace = namespaces.new_namespace()

    def socket(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_DGRAM, protocol: int = 0
    ) -> socket.socket:
        return self.lab.stack.enter_context(
            namespaces.inside(self.namespace, lambda: socket.socket(family, kind, protocol))
        )

    def inside(self, action: Callable[[], T]) -> T:
        return namespaces.inside(self.namespace, action)

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        process = self.inside(lambda: subprocess.Popen(argv, text=True, **options))
        self.lab.stack.callback(end, process)
        return process


class Lab:
    """Sites a, b, … of one subnet each pair, and a relay. Ends everything it started."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.fabric = namespaces.new_namespace()
        self.stack.callback(os.close, self.fabric)
        namespaces.write_sysctls(self.fabric, SYSCTLS)
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.sites: dict[str, Site] = {}
        self.relay: subprocess.Popen[bytes] | None = None
        self.client: RelayClient

    def __enter__(self) -> Lab:  # noqa: PYI034 - typing.Self is younger than Python 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stack.close()

    def pair(self, number: int = 1) -> tuple[Site, Site]:
        """Two sites of one subnet, not joined yet."""
        return self.site(f"a{number}", f"10.{number}.0.1"), self.site(f"b{number}", f"10.{number}.0.2")

    def site(self, name: str, address: str) -> Site:
        site = Site(self, name, address)
        self.stack.callback(os.close, site.namespace)
        namespaces.write_sysctls(site.namespace, SYSCTLS)
        inner = f"/proc/{os.getpid()}/fd/{site.namespace}"
        batch = f"link add {name} mtu 65535 type veth peer name eth netns {inner}\nlink set {name} up\n"
        namespaces.run_inside(self.fabric, ["ip", "-batch", "-"], batch)
        batch = f"link set lo up\nlink set eth mtu 1500 up\naddr add {address}/24 dev eth\n"
        namespaces.run_inside(site.namespace, ["ip", "-batch", "-"], batch)
        # Until the kernel has heard of its carrier, an end drops what is sent by it and says nothing.
        until(lambda: site.inside(lambda: operating("eth")), "its carrier is known")
        until(lambda: namespaces.inside(self.fabric, lambda: operating(name)), "its carrier is known")
        self.sites[name] = site
        return site

    def join_directly(self, a: Site, b: Site) -> None:
        """What a direct link is: two tc filters."""
        batch = ""
        for one, other in ((a, b), (b, a)):
            batch += f"qdisc add dev {one.name} clsact\n"
            batch += f"filter add dev {one.name} ingress protocol all u32 match u32 0 0 "
            batch += f"action mirred egress redirect dev {other.name}\n"
        namespaces.run_inside(self.fabric, ["tc", "-batch", "-"], batch)

    def start_relay(self, *more: str, shortcuts: bool = False) -> RelayClient:
        """By default one that carries every frame itself."""
        path = self.folder / "relay"
        log: IO[bytes] = self.stack.enter_context((self.folder / "log").open("wb"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
            listener.listen()
            argv = [*relay_argv(listener.fileno(), parent=os.getpid()), *more, "--core", str(core_path())]
            argv += [] if shortcuts else ["--no-shortcuts"]
            descriptors = (listener.fileno(),)
            self.relay = namespaces.inside(
                self.fabric,
                lambda: subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=descriptors
                ),
            )
        self.stack.callback(end, self.relay)
        self.client = RelayClient(path)
        self.stack.callback(self.client.close)
        return self.client

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def join(self, a: Site, b: Site, *links: LinkSpec, name: str = "vl") -> None:
        """A relayed link over these links, in this order from a to b."""
        self.client.change(links, flows(a, b, *links, name=name))


def flows(a: Site, b: Site, *links: LinkSpec, name: str = "vl") -> list[FlowSpec]:
    names = [link.name for link in links]
    return [
        FlowSpec(name, a.name, tuple((link, "a->b") for link in names), b.name),
        FlowSpec(name, b.name, tuple((link, "b->a") for link in reversed(names)), a.name),
    ]


def operating(interface: str) -> bool:
    """Whether an interface of the namespace we are in is up with all that belongs to it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        answer = fcntl.ioctl(asking, _SIOCGIFFLAGS, struct.pack("16sh14x", interface.encode(), 0))
    return bool(struct.unpack_from("=H", answer, 16)[0] & _IFF_RUNNING)


def end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def until(condition: Callable[[], bool], what: str, timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        time.sleep(0.005)


@dataclass(frozen=True)
class Arrival:
    """A numbered datagram that came: its number, how long it took one way in seconds, when it came."""

    number: int
    delay: float
    at: float


def train(
    a: Site, b: Site, count: int, interval: float, *, size: int = 100, settle: float = 0.5, port: int = 4000
) -> list[Arrival]:
    """Send `count` numbered datagrams from a to b, `interval` apart; what arrived, in that order.

    Times of arrival are the kernel's, so that a busy machine does not add to them.
    """
    with (
        a.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as out,
        b.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as into,
    ):
        into.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        into.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 2**26)
        into.bind((b.address, port))
        out.connect((b.address, port))
        padding = bytes(max(size - 16, 0))
        begun = time.monotonic()
        arrivals: list[Arrival] = []
        for number in range(count):
            pause = begun + number * interval - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            out.send(struct.pack("=QQ", number, time.time_ns()) + padding)
        deadline = time.monotonic() + settle
        while True:
            into.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data, ancillary, _, _ = into.recvmsg(65536, 64)
            except TimeoutError:
                return arrivals
            number, sent = struct.unpack_from("=QQ", data)
            seconds, nanoseconds = struct.unpack("=qq", ancillary[0][2])
            at = seconds * 10**9 + nanoseconds
            arrivals.append(Arrival(number, (at - sent) / 1e9, at / 1e9))


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]

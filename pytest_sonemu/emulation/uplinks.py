"""Ways out of the bed, made for SAPs that were given one by name, and taken back with their instance.

`nat`: slirp4netns holds the other end of a tap in the SAP's namespace, and speaks for it by ordinary sockets
of the namespace that the keeper was started in; there is no rule in the machine's firewall. It ends with the
keeper, however that ends. `eth1`: that interface moves into the SAP with its addresses and routes, and back.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import threading
from dataclasses import dataclass
from typing import Any

from pytest_sonemu.emulation import namespaces
from pytest_sonemu.emulation.running import RunningEndpoint
from pytest_sonemu.emulation.transcript import Transcript
from pytest_sonemu.errors import CapabilityError, EmulationError, NotFoundError
from pytest_sonemu.planning.plan import DeploymentPlan, UplinkPlan
from pytest_sonemu.planning.uplinks import NAT, masquerade, tap_batch

READY_SECONDS = 10.0


@dataclass
class _Tap:
    """The program behind a tap: it ends when `hold`, the last writing end of its pipe, is closed."""

    process: subprocess.Popen[bytes]
    hold: int

    def close(self) -> None:
        os.close(self.hold)
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(2)


@dataclass
class _Moved:
    """An interface of the machine, as it was before it moved into a namespace (held by a descriptor)."""

    name: str
    inside: int
    restore: tuple[tuple[str, str], ...]


class Uplinks:
    """`outside` is a descriptor of the namespace that the ways lead to. Thread-safe."""

    def __init__(self, outside: int, transcript: Transcript) -> None:
        self._outside, self._transcript = outside, transcript
        self._lock = threading.Lock()
        self._open: dict[str, list[_Tap | _Moved]] = {}

    def check(self, plan: DeploymentPlan) -> None:
        """Before anything is made: is all there that the plan's ways out need? Raises CapabilityError,
        NotFoundError, EmulationError."""
        for endpoint in plan.endpoints:
            uplink = endpoint.uplink
            if uplink is None:
                continue
            for program, package in (("slirp4netns", "slirp4netns"), ("nft", "nftables")):
                if (uplink.kind == NAT or program == "nft") and _program(program) is None:
                    raise CapabilityError(
                        f"SAP '{endpoint.id}': an uplink needs {program}; apt install {package}"
                    )
            if uplink.kind != NAT:
                self._look_at(endpoint.id, uplink.interface)

    def open(self, instance: str, endpoint: RunningEndpoint) -> None:
        """Make an endpoint's way out, if its plan has one. Raises EmulationError."""
        uplink = endpoint.plan.uplink
        if uplink is None or endpoint.namespace is None:
            return
        with self._lock:
            ways = self._open.setdefault(instance, [])
            if uplink.kind == NAT:
                ways.append(self._start(endpoint, uplink))
                batch = tap_batch(uplink, endpoint.plan.id)
                self._transcript.batch(batch, endpoint.address_of_namespace)
                namespaces.run_inside(endpoint.namespace, batch.argv, batch.text)
            else:
                self._transcript.note(f"interface {uplink.interface} moves into {endpoint.plan.id}")
                moved = self._state_of(uplink.interface, endpoint.namespace)
                where = endpoint.address_of_namespace
                argv = ["ip", "link", "set", "dev", uplink.interface, "netns", where]
                namespaces.run_inside(self._outside, argv)
                ways.append(moved)
                # The endpoint's namespace has no IPv6 of its own accord.
                self._restore(moved, endpoint.namespace, "inet")
            self._masquerade(endpoint, uplink)

    def close(self, instance: str) -> None:
        """Take an instance's ways out back. Goes on whatever fails; may be called again."""
        with self._lock:
            ways = self._open.pop(instance, [])
        for way in reversed(ways):
            if isinstance(way, _Tap):
                way.close()
                continue
            try:
                self._bring_back(way)
            except EmulationError as error:
                self._transcript.note(f"interface {way.name} could not be brought back: {error}")
            finally:
                os.close(way.inside)

    # -- nat --------------------------------------------------------------------------------------

    def _start(self, endpoint: RunningEndpoint, uplink: UplinkPlan) -> _Tap:
        """Start the program behind a tap, and wait until the tap is there."""
        program, namespace = _program("slirp4netns"), endpoint.namespace
        if program is None or namespace is None or uplink.address is None:
            raise EmulationError(f"SAP '{endpoint.plan.id}' has no uplink that could be started")
        # It takes the second address of what must not be smaller than a /25.
        network = uplink.address.network.supernet(new_prefix=24)
        held, hold = os.pipe2(os.O_CLOEXEC)
        ready, tell = os.pipe2(os.O_CLOEXEC)
        log = endpoint.folder / "uplink.log"
        argv = [program, "--netns-type=path", f"--cidr={network}", "--disable-host-loopback"]
        argv += ["--enable-sandbox", f"--exit-fd={held}", f"--ready-fd={tell}"]
        argv += [f"/proc/self/fd/{namespace}", uplink.interface]
        self._transcript.note(f"uplink of {endpoint.plan.id}: {' '.join(argv)}")

        def start() -> subprocess.Popen[bytes]:
            with log.open("wb") as output:
                return subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[held, tell, namespace],
                    start_new_session=True,
                )

        try:
            tap = _Tap(namespaces.inside(self._outside, start), hold)
        except BaseException:
            os.close(hold)
            raise
        finally:
            os.close(held)
            os.close(tell)
        try:
            if not select.select([ready], [], [], READY_SECONDS)[0] or not os.read(ready, 1):
                said = " ".join(log.read_text(errors="replace").split())[-300:]
                tap.close()
                raise EmulationError(f"SAP '{endpoint.plan.id}': slirp4netns did not start: {said}")
        finally:
            os.close(ready)
        return tap

    def _masquerade(self, endpoint: RunningEndpoint, uplink: UplinkPlan) -> None:
        program = _program("nft")
        if program is not None:
            text = masquerade(uplink)
            self._transcript.note(f"rules of {endpoint.plan.id}: {' '.join(text.split())}")
            namespaces.run_inside(endpoint.namespace, [program, "-f", "-"], text)

    # -- an interface of the machine ----------------------------------------------------------------

    def _look_at(self, sap: str, name: str) -> None:
        links = {link["ifname"] for link in self._read("link", "show")}
        if name not in links or name == "lo":
            raise NotFoundError("interface of this machine", name, sorted(links - {"lo"}))
        if any(route.get("dev") == name for route in self._read("route", "show", "default")):
            raise EmulationError(
                f"SAP '{sap}': the default route of this machine leads out of '{name}', so it stays where it"
                " is; use another interface, or `uplink: nat`"
            )

    def _state_of(self, name: str, namespace: int) -> _Moved:
        """What an interface of the machine has: addresses, routes, whether it is up."""
        (link,) = self._read("link", "show", "dev", name)
        (known,) = self._read("addr", "show", "dev", name)
        lines: list[tuple[str, str]] = []
        for one in known.get("addr_info", ()):
            if one.get("scope") != "link" and "local" in one:
                broadcast = f" broadcast {one['broadcast']}" if "broadcast" in one else ""
                lines.append(
                    (one["family"], f"addr add {one['local']}/{one['prefixlen']}{broadcast} dev {name}")
                )
        if "UP" in link["flags"]:
            lines.append(("inet", f"link set dev {name} up"))
        for family, option in (("inet", "-4"), ("inet6", "-6")):
            for route in self._read(option, "route", "show", "dev", name):
                # The kernel makes its own with the addresses.
                if route.get("protocol") != "kernel":
                    lines.append((family, _route_line(route, name)))
        return _Moved(name, os.dup(namespace), tuple(lines))

    def _restore(self, moved: _Moved, namespace: int, *families: str) -> None:
        lines = [line for family, line in moved.restore if family in families]
        namespaces.run_inside(namespace, ["ip", "-batch", "-"], "".join(f"{line}\n" for line in lines))

    def _bring_back(self, moved: _Moved) -> None:
        outside = f"/proc/{os.getpid()}/fd/{self._outside}"
        namespaces.run_inside(moved.inside, ["ip", "link", "set", "dev", moved.name, "netns", outside])
        self._transcript.note(f"interface {moved.name} is back")
        self._restore(moved, self._outside, "inet", "inet6")

    def _read(self, *arguments: str) -> list[dict[str, Any]]:
        """What `ip -json` says outside."""

        def run() -> subprocess.CompletedProcess[bytes]:
            return subprocess.run(
                ["ip", "-json", *arguments], capture_output=True, timeout=READY_SECONDS, check=False
            )

        done = namespaces.inside(self._outside, run)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise EmulationError(f"ip {' '.join(arguments)} failed: {said}")
        found: list[dict[str, Any]] = json.loads(done.stdout or b"[]")
        return [each for each in found if each]


def _route_line(route: dict[str, Any], name: str) -> str:
    words = [f"route add {route['dst']}"]
    words += [f"via {route['gateway']}"] if "gateway" in route else []
    words += [f"dev {name}"]
    words += [f"{key} {route[key]}" for key in ("metric", "protocol") if key in route]
    words += [f"src {route['prefsrc']}"] if "prefsrc" in route else []
    words += ["scope link"] if route.get("scope") == "link" else []
    return " ".join(words)


def _program(name: str) -> str | None:
    # A user's PATH may lack where the system's programs are.
    return shutil.which(
        name, path=f"{os.environ.get('PATH', '')}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    )

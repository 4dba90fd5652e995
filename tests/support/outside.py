"""A world outside of a bed, made for a test: a namespace with an interface, and a server behind it.

Run as a program inside a new network namespace (`unshare -n`), which stands for the machine's: it plays one
scene by name and prints what was seen as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_sonemu import NetworkFunction, NetworkService, TestBed
from pytest_sonemu.emulation import namespaces, processes
from pytest_sonemu.errors import SonemuError
from pytest_sonemu.handles.service import Service
from tests.support.machine import wait
from tests.support.static_program import static_image

SERVER, PORT, INTERFACE = "198.51.100.2", 8099, "eth7"


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def service() -> NetworkService:
    """app - fw - out: two VNFs in a row before the way out."""
    return NetworkService.of(
        "ways",
        [
            NetworkFunction("app", image=static_image(), interfaces=["data"]),
            NetworkFunction("fw", image=static_image()),
        ],
        {"inner": ["app:data", "fw:input"], "outer": ["fw:output", "out"]},
    )


def world() -> None:
    """This namespace with an interface, its address and a route; a server answers whose call it took."""
    there = namespaces.new_namespace()
    ip("link", "set", "lo", "up")
    ip(
        "link",
        "add",
        INTERFACE,
        "type",
        "veth",
        "peer",
        "name",
        "srv",
        "netns",
        f"/proc/{os.getpid()}/fd/{there}",
    )
    ip("addr", "add", "198.51.100.1/24", "dev", INTERFACE)
    ip("link", "set", INTERFACE, "up")
    ip("route", "add", "203.0.113.0/24", "via", SERVER, "dev", INTERFACE, "metric", "77")

    def listen() -> socket.socket:
        ip("addr", "add", f"{SERVER}/24", "dev", "srv")
        ip("link", "set", "srv", "up")
        return socket.create_server((SERVER, PORT))

    serve(namespaces.inside(there, listen))
    serve(socket.create_server(("127.0.0.1", PORT)))


def serve(listener: socket.socket) -> None:
    def answer() -> None:
        while True:
            connection, (caller, _port) = listener.accept()
            with connection:
                connection.send(caller.encode())

    threading.Thread(target=answer, daemon=True).start()


def call(running: Service, endpoint: str, target: str = SERVER) -> str:
    """Whose call the server took; "" for none."""
    place = running.sap(endpoint) if endpoint in running.saps else running.vnf(endpoint)
    with place.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(3)
        try:
            sock.connect((target, PORT))
            return sock.recv(100).decode()
        except OSError:
            return ""


def calls(running: Service) -> dict[str, str]:
    return {who: call(running, who) for who in ("out", "fw", "app")}


def state() -> list[str]:
    """What there is of the interface here; nothing: it is not here, or goes just now."""
    if INTERFACE not in {name for _index, name in socket.if_nameindex()}:
        return []
    try:
        lines = ip("-br", "addr", "show", "dev", INTERFACE) + ip("route", "show", "dev", INTERFACE)
    except subprocess.CalledProcessError:
        return []
    return [" ".join(w for w in line.split() if "fe80" not in w) for line in lines.splitlines()]


def rules() -> str:
    """The packet filters here."""
    return subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout


def taps() -> list[int]:
    """Programs behind taps that stand in this namespace."""
    own, found = os.readlink("/proc/self/ns/net"), []
    for entry in Path("/proc").iterdir():
        try:
            ours = entry.name.isdigit() and os.readlink(entry / "ns/net") == own
            if ours and (entry / "comm").read_text().strip() == "slirp4netns":
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def nat() -> dict[str, Any]:
    with TestBed() as bed:
        one = bed.start(service(), saps={"out": {"uplink": "nat"}})
        two = bed.start(service(), saps={"out": {"uplink": "nat"}})
        uplinks = [each.plan.endpoint("out").uplink for each in (one, two)]  # type: ignore[union-attr]
        seen = {
            "calls": calls(one),
            "second": call(two, "app"),
            "loopback": [call(one, "out", "10.10.0.2"), call(one, "app", "127.0.0.1")],
            "addresses": [str(uplink.address) for uplink in uplinks if uplink],
            "rules": rules(),
            "taps": len(taps()),
        }
        one.stop()
        seen["taps after one stopped"] = len(taps())
        view = two.view()
        call(view, "app")
        view.close_view()
        seen["dirty"] = two.dirty
    return {**seen, "taps after the end": len(taps())}


def nat_of_a_killed_keeper() -> dict[str, Any]:
    bed = TestBed()
    bed.start(service(), saps={"out": {"uplink": "nat"}})
    before, started = len(taps()), processes.start_time(bed.keeper_pid)
    os.kill(bed.keeper_pid, signal.SIGKILL)
    gone = wait(lambda: not processes.alive(bed.keeper_pid, started or 0) and not taps(), 10)
    bed.close()
    return {"before": before, "gone": gone}


def interface() -> dict[str, Any]:
    before = state()
    with TestBed() as bed:
        running = bed.start(service(), saps={"out": {"uplink": INTERFACE}})
        seen: dict[str, Any] = {
            "here meanwhile": state(),
            "calls": calls(running),
        }
        running.stop()
        seen["back after a stop"] = state() == before
        bed.start(service(), saps={"out": {"uplink": INTERFACE}})
        seen["away again"] = state() == []
    return {**seen, "before": before, "back": state() == before}


def interface_of_a_killed_owner() -> dict[str, Any]:
    before = state()
    child = os.fork()
    if child == 0:
        TestBed().start(service(), saps={"out": {"uplink": INTERFACE}})
        os.kill(os.getpid(), signal.SIGKILL)
    wait(lambda: state() == [], 30)
    os.waitpid(child, 0)
    return {"back": wait(lambda: state() == before, 15), "now": state(), "before": before}


def refused() -> dict[str, Any]:
    ip("route", "add", "default", "via", SERVER, "dev", INTERFACE)
    seen = {}
    with TestBed() as bed:
        for uplink in (INTERFACE, "eth8", "lo"):
            try:
                bed.start(service(), saps={"out": {"uplink": uplink}})
            except SonemuError as error:
                seen[uplink] = f"{type(error).__name__}: {error}"
    return {"errors": seen, "still here": state() != []}


SCENES: dict[str, Callable[[], dict[str, Any]]] = {
    each.__name__: each
    for each in (nat, nat_of_a_killed_keeper, interface, interface_of_a_killed_owner, refused)
}

if __name__ == "__main__":
    world()
    print(json.dumps(SCENES[sys.argv[1]]()), flush=True)
    os._exit(0)

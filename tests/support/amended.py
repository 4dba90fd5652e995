"""A service with links of every kind, and all that can be seen of it before and after a change."""

from __future__ import annotations

import re

from pytest_sonemu import NetworkFunction, NetworkService, TestBed
from pytest_sonemu.handles.interfaces import read_outer
from pytest_sonemu.handles.service import Service
from pytest_sonemu.topology.model import PoP, PopLink, Topology
from tests.support.static_program import static_image

THREE_POPS = Topology(
    (PoP("pop1"), PoP("pop2"), PoP("pop3")),
    (
        PopLink("pop1", "pop2"),
        PopLink("pop2", "pop3", delay=0.005),
    ),
)


def every_kind() -> NetworkService:
    """E-Lines from `user` over `fw` to `server` (the second over a slow PoP link), an E-LAN over two PoPs."""
    return NetworkService.of(
        "every",
        [
            NetworkFunction("fw", image="sonemu/vnf-base", interfaces=["input", "output"]),
            NetworkFunction("server", image=static_image(), interfaces=["data"]),
            NetworkFunction("web", image=static_image(), interfaces=["lan"]),
            NetworkFunction("other", image="sonemu/vnf-base", interfaces=["lan"]),
        ],
        {"near": ["user", "fw:input"], "far": ["fw:output", "server:data"]},
        lans={"lan": ["client", "web:lan", "other:lan", "guest"]},
    )


OPTIONS = {
    "vnfs": {
        # Servers write of their clients when they come to it, which may be while something is changed.
        "*": {"dirty_ignore": ["/data/events.json"]},
        "fw": {"pop": "pop1"},
        "server": {"pop": "pop3", "ready": [80]},
        "web": {"pop": "pop1", "ready": [80]},
        "other": {"pop": "pop2"},
    },
    "saps": {"client": {"pop": "pop1"}, "guest": {"pop": "pop2"}, "user": {"pop": "pop1"}},
}


def what_is_there(bed: TestBed, service: Service) -> dict[str, object]:
    """The fabric's interfaces, and addresses, routes, rules and hosts of each endpoint."""
    found: dict[str, object] = {"fabric": sorted(read_outer(bed._core.client))}
    for plan in service.plan.endpoints:
        endpoint = service.endpoint(plan.id)
        found[plan.id] = {
            # An interface that was made anew has another number; the kernel tells its state a moment late.
            "addresses": sorted(
                re.sub(r"@if\d+", "", word)
                for word in endpoint.run("ip", "-o", "-br", "addr").stdout.split()
                if not word.isupper()
            ),
            "routes": sorted(
                line.replace(" linkdown", "")
                for line in endpoint.run("ip", "route", "show", "table", "all").stdout.splitlines()
            ),
            "rules": endpoint.run("ip", "rule").stdout.splitlines(),
            "hosts": (bed.run_dir / "instances" / service.id / plan.id / "hosts").read_text(),
        }
    return found

"""A balancer of layer 4: each connection is translated to one of two servers."""

from __future__ import annotations

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, Service

# The names of the service's other VNFs are in /etc/hosts.
SCRIPT = """
address() { getent hosts "$1" | cut -d" " -f1; }
nft -f - <<END
table ip balancer {
    chain in {
        type nat hook prerouting priority -100;
        iifname "front" dnat to numgen inc mod 2 map { 0 : $(address web1), 1 : $(address web2) }
    }
    chain out {
        type nat hook postrouting priority 100;
        oifname "rear" masquerade
    }
}
END
exec sleep infinity
"""

LB = NetworkFunction(
    "lb", image="sonemu/vnf-base", interfaces=["front", "rear"], command=["sh", "-ec", SCRIPT]
)
SERVERS = [
    NetworkFunction(
        name, image="sonemu/vnf-base", interfaces=["data"], command=["python3", "-m", "http.server", "80"]
    )
    for name in ("web1", "web2")
]

pytestmark = pytest.mark.sonemu(
    package=NetworkService.of(
        "l4",
        [LB, *SERVERS],
        {"outside": ["client", "lb:front"]},
        lans={"farm": ["lb:rear", "web1:data", "web2:data"]},
    ),
    vnfs={"lb": {"sysctls": {"net.ipv4.ip_forward": 1}}, "web1": {"ready": 80}, "web2": {"ready": 80}},
)


def test_connections_go_to_both_servers_by_turns(service: Service) -> None:
    trace = service.trace("client", "lb:front", http=True, count=20, listen=False)
    assert trace.ended_in == {"web1": 10, "web2": 10}
    assert trace.lost == 0
    assert trace.ways == {
        ("lb:front", "lb:rear", "web1:data"): 10,
        ("lb:front", "lb:rear", "web2:data"): 10,
    }


def test_the_servers_see_the_balancer(service: Service) -> None:
    trace = service.trace("client", "lb:front", tcp=80, listen=False)
    there, _back = trace.rewritten
    assert there.at == "lb"
    assert there.after.startswith(str(service.vnf("lb").ip("rear")))

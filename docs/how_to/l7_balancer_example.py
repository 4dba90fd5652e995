"""A balancer of layer 7: a proxy ends each request and sends one of its own to a server."""

from __future__ import annotations

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, Service

CONFIG = """
events {}
http {
    access_log off;
    upstream farm { server web1; server web2; }
    server { listen 80; location / { proxy_pass http://farm; proxy_connect_timeout 1s; } }
}
"""

LB = NetworkFunction(
    "lb",
    image="sonemu/vnf-base",
    interfaces=["front", "rear"],
    environment={"CONFIG": CONFIG},
    command=["sh", "-c", 'echo "$CONFIG" > /tmp/lb.conf && exec nginx -c /tmp/lb.conf -g "daemon off;"'],
)
SERVERS = [
    NetworkFunction(
        name,
        image="sonemu/vnf-base",
        interfaces=["data"],
        command=["sh", "-c", "cd /srv && hostname > index.html && exec python3 -m http.server 80"],
    )
    for name in ("web1", "web2")
]

pytestmark = pytest.mark.sonemu(
    package=NetworkService.of(
        "l7",
        [LB, *SERVERS],
        {"outside": ["client", "lb:front"]},
        lans={"farm": ["lb:rear", "web1:data", "web2:data"]},
    ),
    vnfs={"*": {"ready": 80}},
)


def test_the_proxy_ends_one_conversation_and_begins_another(service: Service) -> None:
    trace = service.trace("client", "lb:front", http=True)
    assert trace.terminated_at == "lb"
    assert len(trace.segments) == 2
    assert trace.status == 200
    assert trace.rewritten == ()  # translated nothing: these are two connections


def test_requests_go_to_both_servers_by_turns(service: Service) -> None:
    with service.sap("client").session() as browser:
        pages = [browser.get("http://lb/", timeout=5).text.strip() for _ in range(10)]
    assert pages.count("web1") == pages.count("web2") == 5


def test_a_server_that_dies_is_not_missed(service: Service) -> None:
    with service.flow("client", "lb", http="/", rate="50/s") as flow:
        flow.wait_until_flowing(20)
        service.vnf("web1").kill()  # it is started again after this test
        flow.wait_until_flowing(20)
    assert flow.lost == 0

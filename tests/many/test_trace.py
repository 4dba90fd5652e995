"""Traces are right through routers, firewalls, translation, proxies, balancers, and past a bypass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from pytest_sonemu.descriptors.model import ForwardingPath, NetworkFunction, NetworkService, Reference
from pytest_sonemu.errors import NotFoundError, ProbeError
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed
from tests.support.static_image import static_image

BASE = "sonemu/vnf-base"
FORWARDS = {"sysctls": {"net.ipv4.ip_forward": "1"}}


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    with static_image() as reference:
        yield reference


@pytest.fixture(scope="module")
def bed(image: str) -> Iterator[TestBed]:
    with TestBed(images={"*": image, BASE: BASE}) as bed:
        yield bed


@pytest.fixture(scope="module")
def vforward(bed: TestBed, shared_packages: Path) -> Service:
    """Eight VNFs in a chain, none of which has more than one static program."""
    return bed.start(shared_packages / "vforward-8-1.son")


@pytest.fixture(scope="module")
def line(bed: TestBed, image: str) -> Service:
    """input - mid - server."""
    server = NetworkFunction("server", image=image, interfaces=["data"])
    return bed.start(NetworkService.chain("input", NetworkFunction("mid", image=BASE), server, name="line"))


@pytest.fixture(scope="module")
def dual(bed: TestBed, image: str) -> Service:
    """input - mid - server, in both families."""
    server = NetworkFunction("server", image=image, interfaces=["data"])
    made = NetworkService.chain("input", NetworkFunction("mid", image=BASE), server, name="dual")
    return bed.start(made, ipv6=True)


@pytest.fixture(scope="module")
def star(bed: TestBed, image: str) -> Service:
    """client - box, which has two servers behind it on a LAN."""
    functions = [
        NetworkFunction("box", image=BASE, interfaces=["front", "rear"]),
        *(NetworkFunction(f"web{n}", image=image, interfaces=["data"]) for n in (1, 2)),
    ]
    lan = {"farm": ["box:rear", "web1:data", "web2:data"]}
    made = NetworkService.of("star", functions, {"front": ["client", "box:front"]}, lans=lan)
    return bed.start(made, vnfs={"box": FORWARDS})


def rules(service: Service, vnf: str, text: str) -> None:
    service.vnf(vnf).exec(["nft", "-f", "-"], stdin=text, check=True)


def vforward_hops() -> list[str]:
    return [f"vforward_vnf_{n}_1:{point}" for n in range(1, 9) for point in ("input", "output")] + ["output"]


@pytest.mark.parametrize("how", [{"tcp": 80}, {"udp": 5000}, {"icmp": True}, {"http": True}], ids="".join)
def test_eight_vnfs_are_crossed_in_order_each_once(vforward: Service, how: dict[str, int]) -> None:
    trace = vforward.trace("input", "output", **how)  # type: ignore[arg-type]
    assert trace.hops == vforward_hops()
    assert trace.back_hops == vforward_hops()[::-1]
    assert (trace.reached, trace.answered, trace.lost_at, trace.terminated_at) == (True, True, None, None)
    assert trace.rewritten == ()
    assert trace.bypassed == ()
    times = [crossing.time for crossing in (*trace.there, *trace.back)]
    assert times == sorted(times)
    assert [str(crossing) for crossing in trace.there[:3]] == [
        "input out", "vforward_vnf_1_1:input in", "vforward_vnf_1_1:output out",
    ]  # fmt: skip
    assert len(repr(trace)) < 200


def test_a_vnf_that_does_not_forward_is_where_it_is_lost(vforward: Service) -> None:
    fifth = "vforward_vnf_5_1"
    with vforward.undo():
        vforward.vnf(fifth).sysctl("net.ipv4.ip_forward", 0)
        trace = vforward.trace("input", "output", tcp=80, timeout=0.3)
        assert trace.hops == vforward_hops()[:9]
        assert (trace.reached, trace.lost_at, trace.lost_way) == (False, fifth, "there")
        assert f"seen into {fifth}:input, not out of {fifth}" in repr(trace.runs[0].reason)
        check = vforward.path(vforward.plan.paths[0].id).is_followed(udp=7)
        assert not check
        assert check.skipped[0] == f"{fifth}:output"
    assert vforward.trace("input", "output", tcp=80).answered


def test_a_forwarding_path_is_followed(vforward: Service) -> None:
    path = vforward.path(vforward.plan.paths[0].id)
    check = path.is_followed()
    assert check, repr(check)
    assert check.expected == tuple(vforward_hops())
    assert repr(check).startswith(f"<path {path.id} is followed")
    with pytest.raises(NotFoundError, match="fp99"):
        vforward.path("fp99")


def test_a_stateful_firewall(line: Service) -> None:
    rules(line, "mid", """table inet t { chain f { type filter hook forward priority 0; policy drop;
        ct state established,related accept; iifname "input" tcp dport 80 accept; }; }""")  # fmt: skip
    try:
        hops = ["mid:input", "mid:output", "server:data"]
        assert line.trace("input", "server:data", tcp=80).hops == hops
        assert line.trace("input", "server", http=True).status == 200
        dropped = line.trace("input", "server", tcp=81, timeout=0.3)
        assert (dropped.hops, dropped.lost_at, dropped.lost_way) == (["mid:input"], "mid", "there")
        back = line.trace("server", "input", tcp=80, timeout=0.3)
        assert (back.hops, back.lost_at) == (["mid:output"], "mid")
        assert line.trace("input", "server", icmp=True, timeout=0.3).lost_at == "mid"
    finally:
        rules(line, "mid", "delete table inet t")


def test_an_answer_that_is_lost_on_its_way(line: Service) -> None:
    rules(line, "mid", """table inet t { chain f { type filter hook forward priority 0;
        iifname "output" drop; }; }""")  # fmt: skip
    try:
        trace = line.trace("input", "server", udp=9, timeout=0.3)
        assert trace.hops == ["mid:input", "mid:output", "server:data"]
        assert (trace.reached, trace.answered, trace.lost_at, trace.lost_way) == (True, False, "mid", "back")
        assert trace.back_hops == ["server:data", "mid:output"]
        assert "its answer was seen into mid:output, not out of mid" in trace.reason
    finally:
        rules(line, "mid", "delete table inet t")


@pytest.mark.parametrize("how", [{"tcp": 80}, {"udp": 5000}, {"icmp": True}, {"http": "/x"}], ids="".join)
def test_address_translation_is_named(line: Service, how: dict[str, int]) -> None:
    rules(
        line,
        "mid",
        'table ip t { chain p { type nat hook postrouting priority 100; oifname "output" masquerade; }; }',
    )
    try:
        trace = line.trace("input", "server:data", **how)  # type: ignore[arg-type]
    finally:
        rules(line, "mid", "delete table ip t")
    assert trace.hops == ["mid:input", "mid:output", "server:data"]
    assert trace.back_hops == ["server:data", "mid:output", "mid:input"]
    assert trace.terminated_at is None
    there, back = trace.rewritten
    assert (there.at, there.way, back.at, back.way) == ("mid", "there", "mid", "back")
    assert there.before.startswith(str(line.sap("input").ip()))
    assert there.after.startswith(str(line.vnf("mid").ip("output")))
    assert str(line.sap("input").ip()) in back.after
    assert "mid rewrote" in str(trace)


def test_a_redirect_to_another_server_is_seen(star: Service) -> None:
    """An L4 balancer: the target is the balancer, the conversation goes to one of the servers behind it."""
    web1, web2 = star.vnf("web1").ip(), star.vnf("web2").ip()
    rules(star, "box", f"""table ip lb {{
        chain d {{ type nat hook prerouting priority -100;
            tcp dport 80 dnat to numgen inc mod 2 map {{ 0 : {web1}, 1 : {web2} }}; }}
        chain s {{ type nat hook postrouting priority 100; oifname "rear" masquerade; }}; }}""")  # fmt: skip
    try:
        trace = star.trace("client", "box:front", http=True, count=6, listen=False)
    finally:
        rules(star, "box", "delete table ip lb")
    assert trace.ways == {
        ("box:front", "box:rear", "web1:data"): 3,
        ("box:front", "box:rear", "web2:data"): 3,
    }
    assert trace.ended_in == {"web1": 3, "web2": 3}
    assert trace.lost == 0
    assert {run.status for run in trace.runs} == {200}
    assert {run.rewritten[0].after.split()[-1] for run in trace.runs} == {f"{web1}:80", f"{web2}:80"}
    assert trace.runs[0].terminated_at is None
    with pytest.raises(ProbeError, match="the conversations differ"):
        assert trace.hops


NGINX = """events {} error_log /dev/null; pid /tmp/trace.pid;
http { access_log off; server { listen 80; location / { proxy_pass http://%s; } } }"""


def test_an_l7_proxy_ends_one_conversation_and_begins_another(star: Service) -> None:
    box = star.vnf("box")
    box.exec(["tee", "/tmp/trace.conf"], stdin=NGINX % star.vnf("web2").ip(), check=True)
    box.exec(["nginx", "-c", "/tmp/trace.conf"], check=True)
    try:
        trace = star.trace("client", "box:front", http="/page")
    finally:
        box.exec(["nginx", "-c", "/tmp/trace.conf", "-s", "stop"], check=True)
    assert trace.terminated_at == "box"
    assert len(trace.segments) == 2
    assert trace.hops == ["box:front", "box:rear", "web2:data"]
    assert trace.back_hops == ["web2:data", "box:rear", "box:front"]
    assert [crossing.at for crossing in trace.segments[0].there] == ["client", "box:front"]
    assert [crossing.at for crossing in trace.segments[1].there] == ["box:rear", "web2:data"]
    assert trace.segments[1].there[0].time >= trace.segments[0].there[-1].time
    assert (trace.status, trace.listener) == (200, "theirs")
    assert trace.rewritten == ()


def test_a_transparent_proxy_answers_in_the_targets_place(line: Service) -> None:
    line.vnf("mid").exec(["tee", "/tmp/trace.conf"], stdin=NGINX % "127.0.0.1:9", check=True)
    line.vnf("mid").exec(["nginx", "-c", "/tmp/trace.conf"], check=True)
    rules(
        line,
        "mid",
        "table ip t { chain p { type nat hook prerouting priority -100; tcp dport 80 redirect; }; }",
    )
    try:
        trace = line.trace("input", "server", http=True)
    finally:
        rules(line, "mid", "delete table ip t")
        line.vnf("mid").exec(["nginx", "-c", "/tmp/trace.conf", "-s", "stop"], check=True)
    assert trace.hops == ["mid:input"]
    assert (trace.reached, trace.answered, trace.terminated_at, trace.status) == (False, True, "mid", 502)
    assert "mid answered in its place; it never reached server" in repr(trace)


REJECTS = {
    "tcp reset": "tcp dport 81 reject with tcp reset",
    "port unreachable": "reject with icmpx type port-unreachable",
    "net unreachable": "reject with icmpx type no-route",
}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("how", [{"tcp": 81}, {"udp": 81}, {"icmp": True}], ids="".join)
def test_who_rejects_is_no_proxy(dual: Service, how: dict[str, int], version: Literal[4, 6]) -> None:
    server = dual.plan.endpoint("server")
    assert server is not None
    addresses = [each.ip for each in server.interfaces[0].addresses]
    target = next(address for address in addresses if address.version == version)
    for kind, verdict in REJECTS.items():
        if kind == "tcp reset" and "tcp" not in how:
            continue
        chain = f"chain f {{ type filter hook forward priority 0; {verdict}; }};"
        rules(dual, "mid", f"table inet t {{ {chain} }}")
        try:
            trace = dual.trace("input", target, timeout=0.5, **how)  # type: ignore[arg-type]
        finally:
            rules(dual, "mid", "delete table inet t")
        no_route = "net unreachable" if version == 4 else "no route"
        words = {"tcp reset": "TCP reset", "net unreachable": no_route}
        said = f"rejected by mid: {words.get(kind, kind)}"
        assert (trace.reached, trace.answered, trace.rejected_at) == (False, False, "mid"), repr(trace)
        assert (trace.terminated_at, trace.lost_at, trace.lost_way) == (None, "mid", "there")
        assert (trace.hops, trace.lost, trace.reason) == (["mid:input"], 1, said)
        assert "begun anew" not in repr(trace)
        assert trace.back_hops == ["mid:input"]


def test_a_router_without_a_route_is_named(dual: Service) -> None:
    for how in ({"tcp": 81}, {"udp": 81}, {"icmp": True}):
        trace = dual.trace("input", "2001:db8::1", timeout=0.5, **how)
        assert (trace.answered, trace.rejected_at, trace.terminated_at) == (False, "mid", None), repr(trace)
        assert trace.reason == "rejected by mid: no route"


def test_what_goes_round_a_station_is_named(bed: TestBed, image: str) -> None:
    """The path leads through the IDS, the firewall's route past it."""
    functions = [
        NetworkFunction("fw", image=BASE),
        NetworkFunction("ids", image=image),
        NetworkFunction("server", image=image, interfaces=["data"]),
    ]
    links = {"outside": ["input", "fw:input"]}
    lans = {"inside": ["fw:output", "ids:input", "ids:output", "server:data"]}
    stations = ("input", "fw:input", "fw:output", "ids:input", "ids:output", "server:data")
    path = ForwardingPath("fp01", tuple(map(Reference.parse, stations)))
    made = replace(NetworkService.of("round", functions, links, lans=lans), paths=(path,))
    service = bed.start(made, vnfs={"fw": FORWARDS})
    rules(
        service,
        "fw",
        'table ip t { chain p { type nat hook postrouting priority 100; oifname "output" masquerade; }; }',
    )
    trace = service.trace("input", "server:data", tcp=80)
    assert trace.hops == ["fw:input", "fw:output", "server:data"]
    assert trace.answered
    assert trace.bypassed == ("ids",)
    assert "went round ids" in repr(trace)
    check = service.path("fp01").is_followed()
    assert not check
    assert check.skipped == ("ids:input", "ids:output")
    assert "skipped ids:input, ids:output" in repr(check)
    service.stop()


def test_nobody_listens_and_none_of_ours_is_wanted(line: Service) -> None:
    trace = line.trace("input", "server", tcp=81, listen=False)
    assert (trace.reached, trace.answered, trace.listener) == (True, True, None)
    ours = line.trace("input", "server", tcp=81)
    assert ours.listener == "ours"
    theirs = line.trace("input", "server", tcp=80)
    assert theirs.listener == "theirs"


def test_a_stopped_vnf_and_no_route(line: Service) -> None:
    nowhere = line.trace("server", "192.0.2.1", tcp=80, timeout=0.3)
    assert (nowhere.hops, nowhere.lost_at) == ([], "server")
    assert "unreachable" in nowhere.reason
    with line.undo():
        line.vnf("mid").kill()
        lost = line.trace("input", "server", tcp=80, timeout=0.3)
        assert lost.hops == []
        # Where it ends depends on whether the input still knows the VNF's MAC.
        assert lost.lost_at in ("input", "link-1")


@pytest.mark.parametrize(
    ("how", "said"),
    [({}, "needs one of"), ({"tcp": 1, "udp": 2}, "needs one of"), ({"tcp": 0}, "not a port"),
     ({"icmp": True, "count": 0}, "count"), ({"http": "https://server/"}, "plain HTTP only")],
)  # fmt: skip
def test_what_cannot_be_traced(line: Service, how: dict[str, object], said: str) -> None:
    with pytest.raises(ProbeError, match=said):
        line.trace("input", "server", **how)  # type: ignore[arg-type]

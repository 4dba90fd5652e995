"""Everything works on an image with nothing but one static program, in IPv4 and IPv6.

No shell, no libc, no tool: whatever a handle does, it does from outside.
"""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, TestBed
from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.vnf import Vnf
from pytest_sonemu.planning.plan import Address
from tests.support.static_program import static_image
from tests.support.tapes import Tape

VERSIONS = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    """input - fw - server: both VNFs of that image, all links with IPv4 and IPv6."""
    image = static_image()
    with TestBed() as bed:
        fw = NetworkFunction("fw", image=image, interfaces=["input", "output"])
        server = NetworkFunction("server", image=image, interfaces=["data"])
        links = {"outside": ["input", "fw:input"], "inside": ["fw:output", "server:data"]}
        made = NetworkService.of("bare", [fw, server], links)
        limits = {"memory": "64M", "cpu": 0.5}
        yield bed.start(made, ipv6=True, vnfs={"server": {"ready": [80], **limits}, "fw": {"ready": [80]}})


@pytest.fixture
def service(running: Service) -> Iterator[Service]:
    view = running.view()
    yield view
    assert view.close_view() == ()


@pytest.fixture
def server(service: Service) -> Vnf:
    return service.vnf("server")


def at(service: Service, endpoint_id: str, version: int) -> Address:
    """An address by which an endpoint is reached."""
    plan = service.plan.endpoint(endpoint_id)
    assert plan is not None
    return next(
        one.ip for interface in plan.interfaces for one in interface.addresses if one.version == version
    )


def url(address: Address) -> str:
    return f"http://{address}/" if address.version == 4 else f"http://[{address}]/"


# -- probes ---------------------------------------------------------------------------------------


@VERSIONS
@pytest.mark.parametrize(("source", "target"), [("input", "server"), ("server", "input"), ("fw", "server")])
def test_ping(service: Service, source: str, target: str, version: int) -> None:
    found = service.ping(source, at(service, target, version), 5, interval=0.001)
    assert (found.loss, found.duplicates) == (0, 0)
    rtt = found.rtt
    assert 0 < rtt.min <= rtt.median <= rtt.p99 <= rtt.max < 0.5
    assert found.jitter is not None
    assert found.jitter >= 0


@VERSIONS
def test_ping_of_a_size_that_must_not_be_cut(service: Service, version: int) -> None:
    header = 28 if version == 4 else 48
    address = at(service, "server", version)
    with service.vnf("fw").capture("input", "icmp") as capture:
        assert service.ping("input", address, 1, size=1500 - header, df=True).loss == 0
        too_large = service.ping("input", address, 1, size=1501 - header, df=True, timeout=0.1)
        assert service.ping("input", address, 1, size=1501 - header).loss == 0  # in two parts
    assert too_large.received == 0
    assert "do not fit" in (too_large.error or "")
    assert max(packet.length for packet in capture) == 1514


@VERSIONS
def test_connect_names_each_outcome(service: Service, version: int) -> None:
    address = at(service, "server", version)

    def outcome(**how: Any) -> str:
        return service.connect("input", address, timeout=0.3, **how).outcome

    assert outcome(tcp=80) == "open"
    assert outcome(tcp=81) == "refused"
    assert outcome(tcp=81, listen=True) == "open"
    assert outcome(udp=53) == "refused"
    assert outcome(udp=53, listen=True) == "open"
    assert service.connect("server", at(service, "input", version), tcp=80, listen=True).outcome == "open"
    with service.undo():
        key = "net.ipv4.ip_forward" if version == 4 else "net.ipv6.conf.all.forwarding"
        service.vnf("fw").sysctl(key, 0)
        lost = service.connect("input", address, tcp=80, timeout=0.3)
        assert (lost.outcome, lost.lost_at) == ("dropped", "fw")
    with service.link("inside").down(carrier=False):
        lost = service.connect("input", address, tcp=80, timeout=0.3)
        assert (lost.outcome, lost.lost_at) == ("dropped", "inside")
    nowhere = "198.51.100.1" if version == 4 else "2001:db8::1"
    lost = service.connect("server", nowhere, tcp=80, timeout=0.3)
    assert lost.outcome in ("no_route", "dropped", "rejected")


@VERSIONS
@pytest.mark.skipif(shutil.which("nft") is None, reason="nft, for rules from outside, is not installed")
def test_rules_from_outside(service: Service, tmp_path: Path, version: int) -> None:
    """The machine's nft sets rules in a VNF that has none itself."""
    rules = tmp_path / "rules"
    rules.write_text(
        "table inet t { chain f { type filter hook forward priority 0;"
        " tcp dport 81 reject; tcp dport 82 drop; }; }"
    )
    tmp_path.chmod(0o755)
    service.vnf("fw").tool(f"nft -f {rules}")
    address = at(service, "server", version)
    try:
        rejected = service.connect("input", address, tcp=81, timeout=0.3)
        assert (rejected.outcome, rejected.by) == ("rejected", "fw")
        assert service.connect("input", address, tcp=82, timeout=0.3).outcome == "dropped"
        result = service.policy(
            [
                ("input", str(address), "tcp", 80, "allow"),
                ("input", str(address), "tcp", 81, "reject"),
                ("input", str(address), "tcp", 82, "drop"),
                ("input", str(address), "udp", 53, "allow"),
                ("input", str(address), "icmp", "-", "allow"),
                ("server", str(at(service, "input", version)), "tcp", 81, "deny"),
            ],
            timeout=0.3,
        )
        result.check()
    finally:
        service.vnf("fw").tool("nft flush ruleset")


@VERSIONS
def test_http(service: Service, version: int) -> None:
    assert service.sap("input").http(url(at(service, "server", version))).text == "hello\n"
    assert service.vnf("fw").session().get(url(at(service, "server", version)), timeout=5).text == "hello\n"


@VERSIONS
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_throughput_and_path_mtu(service: Service, protocol: Any, version: int) -> None:
    for source, target in (("input", "server"), ("server", "input")):
        address = at(service, target, version)
        found = service.endpoint(source).throughput(address, protocol, 0.2, 2, rate="20Mbit")
        assert found.rate == pytest.approx(20e6, rel=0.3)
        assert service.endpoint(source).path_mtu(address) == 1500


# -- what goes by ---------------------------------------------------------------------------------


@VERSIONS
def test_capture(service: Service, tmp_path: Path, version: int) -> None:
    address = at(service, "server", version)
    with service.vnf("fw").capture(filter=f"tcp port 80 and host {address}") as capture:
        service.sap("input").http(url(address))
    assert capture.count("syn and " + ("ip" if version == 4 else "ip6")) == 4
    assert {packet.at for packet in capture} == {"fw:input", "fw:output"}
    capture.save(tmp_path / "x.pcap")


@VERSIONS
@pytest.mark.parametrize("what", [{"udp": 5000}, {"tcp": 5000}, {"http": True, "rate": "100/s"}])
def test_flow(service: Service, what: dict[str, Any], version: int) -> None:
    with service.flow("input", at(service, "server", version), **what) as flow:
        flow.wait_until_flowing(20)
    assert (flow.lost, flow.duplicated) == (0, 0)
    assert flow.by_server == {"server": flow.received}


@VERSIONS
@pytest.mark.parametrize("how", [{"tcp": 80}, {"tcp": 81}, {"udp": 53}, {"icmp": True}, {"http": True}])
def test_trace(service: Service, how: dict[str, Any], version: int) -> None:
    trace = service.trace("input", at(service, "server", version), **how)
    assert trace.hops == ["fw:input", "fw:output", "server:data"]
    assert trace.back_hops == ["server:data", "fw:output", "fw:input"]


@VERSIONS
def test_replay(service: Service, tmp_path: Path, version: int) -> None:
    ends = ("192.0.2.1", "192.0.2.80") if version == 4 else ("2001:db8::1", "2001:db8::2")
    path = Tape(*ends).web(b"ask", b"tell").echo(1).echo(1, back=True).save(tmp_path / "x.pcap")
    for sides in (("input", "server"), ("server", "input")):
        assert service.replay(path, dict(zip(ends, sides, strict=True)), speed="max").lost == ()


# -- the namespace --------------------------------------------------------------------------------


def test_programs_of_the_machine_run_in_its_namespace(service: Service, server: Vnf) -> None:
    assert str(at(service, "server", 6)) in server.tool("ip -6 address").stdout
    assert server.run("ip", "-br", "link", "show", "data").exit_status == 0


@VERSIONS
def test_sockets(service: Service, server: Vnf, version: int) -> None:
    address = at(service, "input", version)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    listener = service.sap("input").socket(family)
    listener.bind((str(address), 7000))
    listener.listen()
    with server.create_connection((str(address), 7000)) as client:
        client.sendall(b"from inside")
        accepted, peer = listener.accept()
    with accepted:
        assert accepted.recv(64) == b"from inside"
        assert peer[0] == str(at(service, "server", version))
    with server.sockets(), socket.create_connection((str(address), 7000), 5) as again:
        assert again.getsockname()[0] == str(at(service, "server", version))


def test_a_port_for_the_machine(server: Vnf) -> None:
    outer = server.forward(80)
    with socket.create_connection(outer, 5) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(4096).endswith(b"hello\n")


# -- the container --------------------------------------------------------------------------------


def test_commands_output_and_files(service: Service, server: Vnf, tmp_path: Path) -> None:
    assert server.exec(["/app", "echo", "one", "two"], check=True).stdout == "one two\n"
    process = server.spawn(["/app", "wait"])
    process.wait_for("waiting")
    said, noted = server.watch("stdout"), server.watch("/data/events.json", format="json")
    service.sap("input").http(url(at(service, "server", 4)))
    assert said.wait(lambda line: line.startswith("client"), timeout=5)
    assert noted.wait(lambda event: event["event"] == "client", timeout=5)
    noted.clear()
    assert noted.none(during=0.1)
    server.wait_for_log("serving", since=0)
    server.wait_for_port(80)
    server.put(b"content", "/data/file")
    server.wait_for_file("/data/file", timeout=5)
    assert server.get("/data/file") == b"content"
    assert server.exists("/app")
    usage = server.stats()
    assert usage.processes == 2
    assert usage.memory > 0
    assert server.limits.memory == 64 * 1024 * 1024


def test_a_program_of_the_machine_goes_on_in_a_vnf_s_network(server: Vnf) -> None:
    script = (
        "import os, time; print(*sorted(os.listdir('/proc/self/net/dev_snmp6')), flush=True); time.sleep(60)"
    )
    process = server.spawn_tool(["python3", "-c", script])
    assert "data" in process.wait_for("data", timeout=10).split()
    assert process.exit_status is None
    process.stop()
    assert not process.running
    with pytest.raises(ProbeError, match="this machine has no program 'no-such-tool'"):
        server.spawn_tool("no-such-tool -x")


@pytest.mark.parametrize("change", ["restart", "stop", "kill", "pause"])
def test_lives(service: Service, server: Vnf, change: str) -> None:
    address = at(service, "server", 6)
    assert service.connect("input", address, tcp=80).outcome == "open"
    getattr(server, change)()
    if change == "pause":
        assert service.connect("input", address, tcp=80, timeout=0.2).outcome in ("open", "unanswered")
        server.unpause()
    elif change != "restart":
        assert service.connect("input", address, tcp=80, timeout=0.2).outcome != "open"
        server.start()
    server.wait_ready()
    for version in (4, 6):
        assert service.connect("input", at(service, "server", version), tcp=80).outcome == "open"
        assert service.sap("input").http(url(at(service, "server", version))).text == "hello\n"


@VERSIONS
def test_a_cable_is_pulled(service: Service, version: int) -> None:
    address = at(service, "server", version)
    with service.vnf("fw").interface("output").down():
        assert not service.vnf("fw").interface("output").is_up
        assert service.ping("input", address, 1, timeout=0.2).received == 0
    deadline = time.monotonic() + 5
    while service.ping("input", address, 1, timeout=0.2).received == 0:
        assert time.monotonic() < deadline
    counters = service.vnf("fw").interface("output").stats
    assert counters.tx_packets > 0

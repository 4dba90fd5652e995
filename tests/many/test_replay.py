"""Recorded conversations are said again on a bed, in order, and nobody but the recording speaks."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from pytest_sonemu.descriptors.model import NetworkFunction, NetworkService
from pytest_sonemu.errors import NotFoundError, ProbeError
from pytest_sonemu.handles.capture import Capture
from pytest_sonemu.handles.replay_results import Replay
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed
from tests.support.static_image import static_image
from tests.support.tapes import ACK, PSH, Tape
from tests.support.verifying import verify

BASE = "sonemu/vnf-base"
SIX = ("2001:db8::1", "2001:db8::2")
# As in the recording, and from a SAP to a VNF that has a web server of its own.
SIDES = {"192.0.2.1": "input", "192.0.2.80": "server"}
SIDES_SIX = {SIX[0]: "input", SIX[1]: "server"}


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    """input - fw - server of images with one static program, in IPv4 and IPv6; an E-Line of two SAPs."""
    with static_image() as image, TestBed() as bed:
        fw = NetworkFunction("fw", image=image, interfaces=["input", "output"])
        server = NetworkFunction("server", image=image, interfaces=["data"])
        links = {"outside": ["input", "fw:input"], "inside": ["fw:output", "server:data"], "line": ["a", "b"]}
        yield bed.start(NetworkService.of("replayed", [fw, server], links), ipv6=True)


@pytest.fixture
def service(running: Service) -> Iterator[Service]:
    view = running.view()
    yield view
    assert view.close_view() == ()


def everything(six: bool = False) -> Tape:
    """All kinds of packets, which a kernel that got them would have answered."""
    tape = Tape(*SIX) if six else Tape()
    tape.web(b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nrecorded")
    tape.udp(b"query", ports=(40001, 53)).udp(b"reply", ports=(40001, 53), back=True)
    tape.echo(1).echo(1, back=True)
    tape.ip(b"\0\0\x65\x58" + b"x" * 30, 47)  # GRE
    return tape.web(b"GET /2 HTTP/1.1\r\n\r\n", b"again", ports=(40002, 8080))


def said_by_others(capture: Capture, count: int) -> list[str]:
    """What was seen besides so many packets, but for neighbour discovery and router solicitations."""
    packets = capture.matching("(ip or ip6) and not multicast").matching(
        lambda packet: packet.icmp is None or packet.icmp.type not in (133, 134, 135, 136)
    )
    return [packet.summary() for packet in packets][count:] if len(packets) > count else []


@pytest.mark.parametrize("six", [False, True], ids=["ipv4", "ipv6"])
def test_all_arrive_in_order_and_nobody_answers(service: Service, tmp_path: Path, six: bool) -> None:
    tape = everything(six)
    with service.link("inside").capture() as capture:
        result = service.replay(tape.save(tmp_path / "all.pcap"), SIDES_SIX if six else SIDES, speed="max")
    assert result.lost == (), str(result)
    assert result.changed == (), str(result)
    assert len(result.packets) == len(tape.frames) == 21
    assert result.skipped == 0
    assert said_by_others(capture, 21) == []
    # What is said is the recording, in its order, between addresses of the bed.
    flags = [
        packet.tcp.flag_names for packet in capture.matching("tcp and port 80") if packet.tcp is not None
    ]
    assert flags == [
        ("SYN",), ("SYN", "ACK"), ("ACK",), ("PSH", "ACK"), ("PSH", "ACK"),
        ("FIN", "ACK"), ("FIN", "ACK"), ("ACK",),
    ]  # fmt: skip
    assert capture.matching(lambda packet: packet.payload.endswith(b"recorded")).count("src host server") == 1
    kinds = verify(capture.save(tmp_path / "seen.pcap"))
    assert kinds["tcp6" if six else "tcp"] == 16
    assert result.packets[0].crossed == ("input", "fw:input", "fw:output", "server:data")
    assert result.packets[1].crossed == ("server:data", "fw:output", "fw:input", "input")
    assert all(packet.latency is not None and 0 < packet.latency < 0.5 for packet in result.packets)
    assert len(repr(result)) < 200
    assert repr(result).startswith("<replay all.pcap: all 21 packets arrived (")


@pytest.mark.parametrize("how", ["pcapng", "big-endian", "nanoseconds"])
def test_recordings_of_every_kind(service: Service, tmp_path: Path, how: str) -> None:
    path, tape = tmp_path / "x.pcap", Tape().web(b"ask", b"tell")
    if how == "pcapng":
        tape.save_ng(path)
    else:
        tape.save(path, ">" if how == "big-endian" else "<", nanoseconds=how == "nanoseconds")
    assert service.replay(path, SIDES, speed="max").lost == ()


def test_the_server_of_a_vnf_goes_on_beside_it(service: Service, tmp_path: Path) -> None:
    """A recorded connection is taken out of its hands, and no other one."""
    slow = Tape(step=0.02).web(b"ask", b"tell").save(tmp_path / "x.pcap")
    results: list[Replay] = []
    url = f"http://{service.vnf('server').interfaces[0].addresses[0].ip}/"
    thread = threading.Thread(target=lambda: results.append(service.replay(slow, SIDES)))
    thread.start()
    try:
        answers = [service.sap("input").http(url).text for _ in range(5)]
    finally:
        thread.join()
    assert answers == ["static"] * 5
    assert results[0].lost == ()
    assert service.sap("input").http(url).text == "static"


def test_what_a_kernel_ignored_it_answers_again(service: Service, tmp_path: Path) -> None:
    tape = Tape().echo(1).echo(1, back=True)
    before = service.vnf("server").sysctl("net.ipv4.icmp_echo_ignore_all")
    assert service.replay(tape.save(tmp_path / "x.pcap"), SIDES).lost == ()
    assert before == service.vnf("server").sysctl("net.ipv4.icmp_echo_ignore_all") == "0"
    # No socket is left; the kernel's own memory of an earlier test's connection is none.
    left = service.sap("input").tool("ss -Htuanw").stdout.splitlines()
    assert [line for line in left if "TIME-WAIT" not in line] == []
    assert service.ping("input", "server").loss == 0
    assert service.connect("input", "server", tcp=9999).outcome == "refused"


def test_the_times_of_the_recording(service: Service, tmp_path: Path) -> None:
    path = Tape(step=0.03).web(b"ask", b"tell").save(tmp_path / "x.pcap")
    ends = {"192.0.2.1": "a", "192.0.2.80": "b"}
    result = service.replay(path, ends)
    assert result.recorded == pytest.approx(0.21)
    assert 0.209 <= result.took < 0.5
    sent = [packet.sent for packet in result.packets if packet.sent is not None]
    assert all(after - before > 0.0295 for before, after in pairwise(sent))
    assert 0.1 < service.replay(path, ends, speed=2).took < 0.209
    assert service.replay(path, ends, speed="max").took < 0.2
    assert service.replay(path, ends, speed=0).lost == ()


def test_each_waits_for_those_it_follows(service: Service, tmp_path: Path) -> None:
    path = Tape().web(b"ask", b"tell").save(tmp_path / "x.pcap")
    service.ping("a", "b", count=1)
    with service.link("line").impair(delay="30ms"), service.sap("b").capture(filter="tcp") as capture:
        result = service.replay(path, {"192.0.2.1": "a", "192.0.2.80": "b"}, speed="max")
    assert result.lost == ()
    assert result.took > 4 * 0.03
    seen = [packet.direction for packet in capture]
    assert seen == ["in", "out", "in", "in", "out", "in", "out", "in"]
    assert all(packet.latency is not None and packet.latency > 0.029 for packet in result.packets)


def test_what_is_lost_is_said_with_its_place(service: Service, tmp_path: Path) -> None:
    path = Tape().web(b"ask", b"tell").udp(b"late", back=True).save(tmp_path / "x.pcap")
    service.ping("input", "server", count=1)
    with service.link("inside").down(carrier=False):
        result = service.replay(path, SIDES, speed="max", timeout="100ms")
    assert len(result.lost) == 9
    first, second = result.lost[:2]
    assert (first.number, first.lost_in) == (1, "inside")
    assert first.last_seen == "seen out of fw:output and lost on inside"
    assert second.last_seen == "seen out of server:data and lost on inside"
    assert first.crossed == ("input", "fw:input", "fw:output")
    # Each direction of a conversation is waited for once.
    assert result.took < 0.5
    assert len(repr(result)) < 200
    assert "packet 1 " in repr(result)
    story = [event for event in service._core.bed.journal.since(0) if "replay x.pcap" in event.text]
    assert (story[-1].failed, story[-1].blame) == (True, "inside")


def test_a_vnf_that_does_not_forward_is_named(service: Service, tmp_path: Path) -> None:
    path = Tape().udp(b"query").save(tmp_path / "x.pcap")
    service.vnf("fw").sysctl("net.ipv4.ip_forward", 0)
    result = service.replay(path, SIDES, timeout=0.1)
    assert [packet.last_seen for packet in result.lost] == ["seen into fw:input, not out of fw"]
    with service.sap("input").interface("input").down():
        down = service.replay(path, SIDES, timeout=0.1)
    assert "input" in down.lost[0].last_seen


def test_tags_and_sizes(service: Service, tmp_path: Path) -> None:
    ends = {"192.0.2.1": "a", "192.0.2.80": "b"}
    tagged = Tape().udp(b"plain")
    tagged.raw(tagged.frames[0][1][14:], tags=[7])
    path = tagged.save(tmp_path / "tagged.pcap")
    with pytest.raises(
        ProbeError, match=r"packet 2 of tagged.pcap was recorded in VLAN 7; say vlans='strip'"
    ):
        service.replay(path, ends)
    for vlans, tags in (("strip", ()), ("keep", (7,))):
        with service.sap("b").capture(filter="udp") as capture:
            assert service.replay(path, ends, vlans=vlans).lost == ()  # type: ignore[arg-type]
        assert [packet.eth.tags for packet in capture] == [(), tags]
    large = Tape().tcp(PSH | ACK, bytes(range(256)) * 100, seq=77).save(tmp_path / "large.pcap")
    with service.sap("b").capture(filter="tcp") as capture:
        result = service.replay(large, ends)
    assert result.lost == ()
    assert b"".join(packet.payload for packet in capture) == bytes(range(256)) * 100
    assert max(verify(capture.save(tmp_path / "cut.pcap")).values()) == len(capture) > 10
    too_large = Tape().udp(bytes(2000)).save(tmp_path / "y.pcap")
    with pytest.raises(ProbeError, match=r"packet 1 has 2028 bytes and is no TCP .* takes 1500"):
        service.replay(too_large, ends)
    short = Tape().udp(bytes(500)).save(tmp_path / "z.pcap", snap=100)
    with pytest.raises(ProbeError, match=r"packet 1 was cut short .* \(tcpdump -s 0\)"):
        service.replay(short, ends)


def test_fragments_and_malformed_packets_pass(service: Service, tmp_path: Path) -> None:
    whole = struct.pack("!HHHH", 40000, 53, 48, 0) + bytes(40)
    tape = Tape().ip(whole[:24], 17, ident=5, fragment=0x2000).ip(whole[24:], 17, ident=5, fragment=3)
    tape.ip(b"\x01\x02\x03", 6)  # too short for TCP
    path = tape.save(tmp_path / "x.pcap")
    assert service.replay(path, {"192.0.2.1": "a", "192.0.2.80": "b"}).lost == ()


def test_many_conversations(service: Service, tmp_path: Path) -> None:
    """A scan of 2,000 ports needs no 2,000 sockets at once."""
    tape = Tape(step=0)
    for port in range(1, 2001):
        tape.tcp(0x02, seq=port, ports=(50000, port)).tcp(0x14, ack=port + 1, back=True, ports=(50000, port))
    path = tape.save(tmp_path / "scan.pcap")
    result = service.replay(path, {"192.0.2.1": "a", "192.0.2.80": "b"}, speed=0)
    assert result.lost == ()
    assert len(result.packets) == 4000


def test_what_cannot_be_replayed(service: Service, tmp_path: Path) -> None:
    path = Tape().udp(b"q").save(tmp_path / "x.pcap")
    with pytest.raises(ProbeError, match=r"x.pcap has no packet of 192.0.2.3; in it speak: 192.0.2.1"):
        service.replay(path, {"192.0.2.3": "a", "192.0.2.80": "b"})
    with pytest.raises(ProbeError, match="no packet between two of"):
        service.replay(path, {"192.0.2.1": "a"})
    with pytest.raises(ProbeError, match="both its ends would be a"):
        service.replay(path, {"192.0.2.1": "a", "192.0.2.80": "a"})
    with pytest.raises(NotFoundError, match="serve"):
        service.replay(path, {"192.0.2.1": "a", "192.0.2.80": "serve"})
    with pytest.raises(ProbeError, match="'client' is not an address"):
        service.replay(path, {"client": "a"})
    with pytest.raises(ProbeError, match="No such file"):
        service.replay(tmp_path / "none.pcap", SIDES)
    with pytest.raises(ProbeError, match="speed='fast'"):
        service.replay(path, SIDES, speed="fast")
    (tmp_path / "bad.pcap").write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ProbeError, match="cut short or damaged"):
        service.replay(tmp_path / "bad.pcap", SIDES)


def test_a_port_that_a_program_holds_is_named(service: Service, tmp_path: Path) -> None:
    holder = service.sap("b").socket(type=2)
    holder.bind(("0.0.0.0", 53))
    path = Tape().udp(b"q").save(tmp_path / "x.pcap")
    with pytest.raises(ProbeError, match="b has a program of its own on UDP port 53"):
        service.replay(path, {"192.0.2.1": "a", "192.0.2.80": "b"})


# -- with rules and translation -------------------------------------------------------------------


@pytest.fixture(scope="module")
def ruled() -> Iterator[Service]:
    """input - mid - output, where mid is Debian with nft."""
    with TestBed() as bed:
        yield bed.start(
            NetworkService.chain("input", NetworkFunction("mid", image=BASE), "output", name="ruled")
        )


ENDS = {"192.0.2.1": "input", "192.0.2.80": "output"}


def rules(service: Service, text: str) -> None:
    service.vnf("mid").exec(["nft", "-f", "-"], stdin=f"flush ruleset\n{text}", check=True)


def test_an_ips_that_drops_by_content(ruled: Service, tmp_path: Path) -> None:
    """Bytes 40 to 43 behind the TCP header's begin: what is dropped is one packet of eight."""
    rules(ruled, """table ip t { chain f { type filter hook forward priority 0;
        ip daddr 0.0.0.0/0 tcp dport 80 @th,160,32 0x4556494c drop; }; }""")  # fmt: skip
    path = Tape().web(b"EVIL request", b"answer").save(tmp_path / "x.pcap")
    result = ruled.replay(path, ENDS, speed="max", timeout=0.2)
    rules(ruled, "")
    assert [packet.number for packet in result.lost] == [4]
    assert result.lost[0].last_seen == "seen into mid:input, not out of mid"
    assert result.lost[0].lost_in == "mid"


def test_a_stateful_firewall_takes_it_for_a_conversation(ruled: Service, tmp_path: Path) -> None:
    rules(ruled, """table ip t { chain f { type filter hook forward priority 0; policy drop;
        ct state invalid drop; ct state established accept;
        iifname "input" tcp dport 80 accept; }; }""")  # fmt: skip
    allowed = Tape().web(b"ask", b"tell").save(tmp_path / "x.pcap")
    other = Tape().web(b"ask", b"tell", ports=(40000, 81)).save(tmp_path / "y.pcap")
    passed = ruled.replay(allowed, ENDS, speed="max")
    blocked = ruled.replay(other, ENDS, speed="max", timeout=0.1)
    rules(ruled, "")
    assert passed.lost == (), str(passed)
    assert len(blocked.lost) == 8
    assert {packet.lost_in for packet in blocked.lost} == {"mid"}


def test_translated_addresses_are_followed(ruled: Service, tmp_path: Path) -> None:
    rules(ruled, """table ip t { chain p { type nat hook postrouting priority srcnat;
        oifname "output" meta l4proto tcp masquerade to :61000-61005; }; }""")  # fmt: skip
    result = ruled.replay(Tape().web(b"ask", b"tell").save(tmp_path / "x.pcap"), ENDS, speed="max")
    rules(ruled, "")
    assert result.lost == (), str(result)
    assert len(result.changed) == 8
    own = ruled.vnf("mid").ip("output")
    assert f"ip.source {ruled.sap('input').ip()} -> {own}" in result.packets[0].changes
    assert "ports.source 40000 -> 610" in result.packets[0].changes

"""What pytest shows of results that are not equal: what differs, and why."""

from __future__ import annotations

from pytest_sonemu.handles.packet_list import Packets
from pytest_sonemu.handles.packets import CapturedPacket
from pytest_sonemu.handles.results import InterfaceStats
from pytest_sonemu.handles.trace_results import Crossing, Segment, TraceRun
from pytest_sonemu.reports.comparing import explain


def lost_in_fw() -> TraceRun:
    there = (
        Crossing("input", "input", "out", 1.0, "10.30.0.1:4 > 10.30.0.2:80"),
        Crossing("fw:input", "fw", "in", 1.1, "10.30.0.1:4 > 10.30.0.2:80"),
    )
    reason = "seen into fw:input, not out of fw"
    return TraceRun("input", (Segment(there),), False, False, reason, lost_at="fw", lost_way="there")


def test_hops_say_which_were_not_crossed_and_where_it_ended() -> None:
    hops, wanted = lost_in_fw().hops, ["fw:input", "fw:output", "server:data"]
    assert hops == ["fw:input"]
    assert isinstance(hops, list)
    told = explain("==", hops, wanted)
    assert told == [
        "['fw:input'] == ['fw:input', 'fw:output', 'server:data']",
        "    fw:input",
        "  - fw:output    expected, not crossed",
        "  - server:data  expected, not crossed",
        "input -> fw:input; seen into fw:input, not out of fw",
    ]
    assert (explain("==", wanted, hops) or [])[1:] == told[1:]
    assert explain("!=", hops, wanted) is None
    assert (explain("==", hops, 3) or [])[1:] == ["input -> fw:input; seen into fw:input, not out of fw"]


def test_packets_are_set_side_by_side() -> None:
    def packet(number: int) -> CapturedPacket:
        return CapturedPacket(1.0, "fw:input", "in", bytes(12) + number.to_bytes(2, "big") + bytes(50))

    told = explain("==", Packets([packet(0x88B5), packet(0x88B6)]), Packets([packet(0x88B5), packet(0x88B7)]))
    assert told is not None
    marks = [(line.split()[0], line.split()[-2:]) for line in told[1:] if line.split()[0] in "+-"]
    assert sorted(marks) == [("+", ["only", "left"]), ("-", ["only", "right"])]
    assert any("0x88b6" in line and line.strip().startswith("+") for line in told)


def test_figures_show_their_difference() -> None:
    told = explain("==", InterfaceStats(3, 300), InterfaceStats(1, 300))
    assert told == ["InterfaceStats == InterfaceStats", "  rx_packets: 3 != 1 (+2)"]

"""What sightings mean, by table: input - fw - server, "a>" out of a, ">a" into a; answers after "|"."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from pytest_sonemu.handles.results import Direction, Part, Sighting
from pytest_sonemu.handles.sightings import Question
from pytest_sonemu.handles.verdict import Evidence, SocketEnd, judge

LINKS = (("input", "l-in"), ("fw:in", "l-in"), ("fw:out", "l-out"), ("server", "l-out"), ("web", "l-web"))
THERE = "input> >fw:in fw:out> >server"
AGAIN = " on the way back"
BACK = "server> >fw:out fw:in> >input"


def sightings(text: str, answer: str) -> tuple[Sighting, ...]:
    found = []
    part: Part = "first"
    for number, word in enumerate(text.split()):
        if word == "|":
            part = "answer"
            continue
        direction: Direction = "in" if word.startswith(">") else "out"
        at = word.strip(">")
        what = "SYN" if part == "first" else answer
        found.append(Sighting(at, at.split(":")[0], direction, float(number), part, what))
    return tuple(found)


@pytest.mark.parametrize(
    ("seen", "answer", "end", "outcome", "by", "lost_at", "path"),
    [
        (f"{THERE} | {BACK}", "SYN-ACK", "answered", "open", "server", None, "open"),
        (f"{THERE} | {BACK}", "RST", "error", "refused", "server", None, "open"),
        (f"{THERE} | {BACK}", "port unreachable", "error", "rejected", "server", None, "open"),
        ("input> >fw:in | fw:in> >input", "RST", "error", "rejected", "fw", None, "ended at fw"),
        ("input> >fw:in | fw:in> >input", "net unreachable", "error", "rejected", "fw", None, "ended at fw"),
        # An inline IPS may let the packet through and cut the connection all the same.
        (f"{THERE} | fw:in> >input", "RST", "error", "rejected", "fw", None, "open"),
        # A proxy answers in the server's place.
        ("input> >fw:in | fw:in> >input", "SYN-ACK", "answered", "dropped", "fw", "fw", "ended at fw"),
        ("input> >fw:in", "", "silent", "dropped", None, "fw", "ended at fw"),
        ("input> >fw:in fw:out>", "", "silent", "dropped", None, "l-out", "ended at l-out"),
        ("input>", "", "silent", "dropped", None, "l-in", "ended at l-in"),
        (THERE, "", "silent", "unanswered", None, None, "ended at server on the way back"),
        (f"{THERE} | server> >fw:out", "SYN-ACK", "silent", "dropped", "server", "fw", "ended at fw" + AGAIN),
        (f"{THERE} | server>", "RST", "silent", "dropped", "server", "l-out", "ended at l-out" + AGAIN),
        # A balancer passes it on, and the answer comes from behind it.
        (f"{THERE} server> >web | web> >server {BACK}", "SYN-ACK", "answered", "open", "web", None, "open"),
        (f"{THERE} server> >web", "", "silent", "unanswered", None, None, "ended at server on the way back"),
        ("", "", "silent", "not_sent", None, "input", "ended at input"),
        ("", "", "error", "rejected", "input", None, "ended at input"),
        ("", "", "no_route", "no_route", None, None, "ended at input"),
    ],
)  # fmt: skip
def test_tcp(
    seen: str, answer: str, end: SocketEnd, outcome: str, by: str | None, lost_at: str | None, path: str
) -> None:
    verdict = judge(Evidence("input", "server", "tcp", end, sightings(seen, answer), "words", (), LINKS))
    assert (verdict.outcome, verdict.by, verdict.lost_at, str(verdict.path)) == (outcome, by, lost_at, path)


@pytest.mark.parametrize(
    ("seen", "answer", "end", "outcome", "by"),
    [
        (f"{THERE} | {BACK}", "datagram", "answered", "open", "server"),
        (f"{THERE} | {BACK}", "port unreachable", "error", "refused", "server"),
        (f"{THERE} | {BACK}", "administratively prohibited", "error", "rejected", "server"),
        ("input> >fw:in | fw:in> >input", "port unreachable", "error", "rejected", "fw"),
        (THERE, "", "silent", "delivered", None),
        ("input> >fw:in", "", "silent", "dropped", None),
    ],
)
def test_udp(seen: str, answer: str, end: SocketEnd, outcome: str, by: str | None) -> None:
    verdict = judge(Evidence("input", "server", "udp", end, sightings(seen, answer), "", (), LINKS))
    assert (verdict.outcome, verdict.by) == (outcome, by)


def test_the_first_answer_that_comes_back_decides() -> None:
    rejected = sightings("input> >fw:in | fw:in> >input", "RST")
    later = tuple(
        Sighting("server", "server", "out", 9.0 + number, "answer", "SYN-ACK") for number in range(2)
    )
    assert judge(Evidence("input", "server", "tcp", "error", rejected + later, "", (), LINKS)).by == "fw"


@pytest.mark.parametrize(("end", "outcome"), [("answered", "open"), ("error", "refused")])
def test_within_one_endpoint(end: SocketEnd, outcome: str) -> None:
    verdict = judge(Evidence("server", "server", "tcp", end))
    assert verdict.outcome == outcome
    assert verdict.path.open


def test_an_unplanned_address_is_his_who_answers() -> None:
    seen = sightings(f"{THERE} | {BACK}", "SYN-ACK")
    assert judge(Evidence("input", None, "tcp", "answered", seen, "", (), LINKS)).outcome == "open"
    assert judge(Evidence("input", None, "tcp", "silent", seen[:2], "", (), LINKS)).lost_at == "fw"
    told = sightings("input> >fw:in | fw:in> >input", "net unreachable")
    router = judge(Evidence("input", None, "tcp", "error", told, "", (), LINKS))
    assert (router.outcome, router.by, str(router.path)) == ("rejected", "fw", "ended at fw")


def test_a_neighbour_that_does_not_answer_is_the_reason() -> None:
    question = Question("fw", "fw:out", ip_address("10.0.0.2"))
    verdict = judge(
        Evidence("input", "server", "tcp", "silent", sightings("input> >fw:in", ""), "", (question,), LINKS)
    )
    assert verdict.reason.endswith("fw:out asks for the MAC of 10.0.0.2 and nobody answers")


def test_hops_are_named_without_the_source() -> None:
    path = judge(
        Evidence(
            "input", "server", "tcp", "answered", sightings(f"{THERE} | {BACK}", "SYN-ACK"), "", (), LINKS
        )
    ).path
    assert path.there == ("fw:in", "fw:out", "server")
    assert path.back == ("server", "fw:out", "fw:in")

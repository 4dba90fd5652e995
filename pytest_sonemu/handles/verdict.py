"""What the sightings of a probe mean (pure): from evidence to the words of a `ConnectResult`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_sonemu.handles.results import Outcome, PathVerdict, Protocol, Sighting
from pytest_sonemu.handles.sightings import Question

SocketEnd = Literal["answered", "error", "silent", "no_route"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known once a probe is over.

    `target` is the endpoint meant, or None for an address that the plan gives to nobody. `end` is how
    it ended for the socket, `error` the kernel's words for that. `seen` is in the order of time.
    `links` names the virtual link behind each interface. `route_error` is what the kernel owes a packet
    that ended in its station, for want of a route.
    """

    source: str
    target: str | None
    protocol: Protocol
    end: SocketEnd
    seen: tuple[Sighting, ...] = ()
    error: str = ""
    questions: tuple[Question, ...] = ()
    links: tuple[tuple[str, str | None], ...] = ()
    route_error: str = ""

    @property
    def first(self) -> list[Sighting]:
        return [sighting for sighting in self.seen if sighting.part == "first"]

    def question_of(self, endpoint: str) -> Question | None:
        return next((question for question in self.questions if question.endpoint == endpoint), None)


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Outcome
    path: PathVerdict
    reason: str
    by: str | None = None
    lost_at: str | None = None


def judge(evidence: Evidence) -> Verdict:
    """The outcome, the path, and the reason in words."""
    if evidence.end == "no_route":
        path = PathVerdict(False, evidence.source, "there")
        return Verdict("no_route", path, f"{evidence.source} has no route there: {evidence.error}")
    if not evidence.first:
        return _never_left(evidence)
    answer = _decisive_answer(evidence)
    return _without_answer(evidence) if not answer else _with_answer(evidence, answer)


def ended_in(evidence: Evidence) -> Sighting | None:
    """The packet going into a station on the way where nothing came of it; None if it did not end so."""
    if not evidence.first or any(sighting.part == "answer" for sighting in evidence.seen):
        return None
    last = evidence.first[-1]
    return last if last.direction == "in" and not _enters(evidence, evidence.target or "") else None


def _never_left(evidence: Evidence) -> Verdict:
    source = evidence.source
    at_home = evidence.target == source
    path = PathVerdict(True) if at_home else PathVerdict(False, source, "there")
    if evidence.end == "answered":
        return Verdict("open", path, f"{source} itself answered", by=source)
    if evidence.end == "error" and at_home:
        return Verdict("refused", path, f"nobody listens there in {source}: {evidence.error}", by=source)
    question = evidence.question_of(source)
    if question is not None:
        return Verdict("not_sent", path, f"nothing left {source}: {question}", lost_at=source)
    if evidence.end == "error":
        return Verdict("rejected", path, f"{source} itself refused to send it: {evidence.error}", by=source)
    return Verdict("not_sent", path, f"nothing left {source}: a rule of its own drops it?", lost_at=source)


def _decisive_answer(evidence: Evidence) -> list[Sighting]:
    """All sightings of the answer that decided: the first to come back, else the first seen at all."""
    answers = [sighting for sighting in evidence.seen if sighting.part == "answer"]
    back = [sighting for sighting in answers if _came_back(evidence, sighting)]
    chosen = (back or answers)[:1]
    return [sighting for sighting in answers if sighting.what == chosen[0].what] if chosen else []


def _came_back(evidence: Evidence, sighting: Sighting) -> bool:
    return sighting.endpoint == evidence.source and sighting.direction == "in"


def _with_answer(evidence: Evidence, answer: list[Sighting]) -> Verdict:
    what, origin = answer[0].what, answer[0].endpoint
    nobody_listens = "RST" if evidence.protocol == "tcp" else "port unreachable"
    target = evidence.target or origin
    # An address that is nobody's was reached where it answered for itself; a router only speaks of it.
    own = evidence.target is not None or what in ("SYN-ACK", "datagram", nobody_listens)
    reached = own and _enters(evidence, target)
    there, back = _hops(evidence, evidence.first), _hops(evidence, answer)
    if not any(_came_back(evidence, sighting) for sighting in answer):
        lost_at, where = _lost(evidence, answer[-1])
        path = PathVerdict(False, lost_at, "back", there, back)
        reason = f"{origin} answered ({what}), but the answer was {where}"
        return Verdict("dropped", path, reason, origin, lost_at)
    path = PathVerdict(True, None, None, there, back)
    if not reached:
        path = PathVerdict(False, origin, "there", there, back)
    if what in ("SYN-ACK", "datagram"):
        if reached:
            return Verdict("open", path, f"{origin} answered{_across(there[:-1])}", by=origin)
        reason = f"{origin} answered in {target}'s place; it never reached {target}"
        return Verdict("dropped", path, reason, origin, origin)
    if what == nobody_listens and origin == target and reached:
        reason = f"{target}'s kernel says that nobody listens there ({what})"
        return Verdict("refused", path, reason, by=origin)
    question = evidence.question_of(origin)
    reason = f"{origin} sent back: {what}{f'; {question}' if question else ''}"
    return Verdict("rejected", path, reason, by=origin)


def _without_answer(evidence: Evidence) -> Verdict:
    last, target = evidence.first[-1], evidence.target
    there = _hops(evidence, evidence.first)
    if target is not None and _enters(evidence, target):
        path = PathVerdict(False, target, "back", there)
        question = evidence.question_of(target)
        beyond = f" (it was passed on, last seen {last})" if last.endpoint != target else ""
        why = f": {question}" if question else beyond
        if evidence.protocol == "udp":
            return Verdict("delivered", path, f"reached {target}, no answer and no complaint{why}")
        return Verdict("unanswered", path, f"reached {target}, which did not answer{why}")
    if evidence.route_error:
        path = PathVerdict(False, last.endpoint, "there", there)
        reason = f"{last.endpoint} has no route there: {evidence.route_error}"
        return Verdict("rejected", path, reason, by=last.endpoint)
    lost_at, where = _lost(evidence, last)
    question = evidence.question_of(last.endpoint)
    reason = f"{where}{f'; {question}' if question else ''}"
    return Verdict("dropped", PathVerdict(False, lost_at, "there", there), reason, lost_at=lost_at)


def _lost(evidence: Evidence, last: Sighting) -> tuple[str, str]:
    """Which station or link a packet was lost at, and how that was seen."""
    if last.direction == "in":
        return last.endpoint, f"seen into {last.at}, not out of {last.endpoint}"
    link = dict(evidence.links).get(last.at)
    if link is None:
        return last.endpoint, f"seen out of {last.at}, which is in no link"
    return link, f"seen out of {last.at} and lost on {link} (is its other end up?)"


def _enters(evidence: Evidence, target: str) -> bool:
    return any(sighting.endpoint == target and sighting.direction == "in" for sighting in evidence.first)


def _hops(evidence: Evidence, sightings: list[Sighting]) -> tuple[str, ...]:
    return tuple(sighting.at for sighting in sightings if sighting.endpoint != evidence.source)


def _across(hops: tuple[str, ...]) -> str:
    return f" across {', '.join(dict.fromkeys(hop.split(':')[0] for hop in hops))}" if hops else ""

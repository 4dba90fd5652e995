"""What a trace found: every connection point that a conversation crossed, and what became of it there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NoReturn

from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles.differing import side_by_side
from pytest_sonemu.handles.results import Direction, milliseconds, one_line

Way = Literal["there", "back"]
TraceProtocol = Literal["tcp", "udp", "icmp", "http"]


class Hops(list[str]):
    """Connection points in order: a list like any other, which can say why it is not another one."""

    def __init__(self, hops: Iterable[str], why: str) -> None:
        super().__init__(hops)
        self._why = why

    def explain_difference(self, other: object) -> list[str]:
        """Lines for a failed comparison: the points that only one of the two has, and what was seen."""
        if not isinstance(other, (list, tuple)):
            return [self._why]
        texts = [str(each) for each in other]
        return [*side_by_side(self, texts, "crossed, not expected", "expected, not crossed"), self._why]


@dataclass(frozen=True, slots=True)
class Crossing:
    """The packet at a connection point: "in" into that endpoint or "out" of it.

    `time` is the kernel's clock in seconds since the epoch; `ends` is the packet's
    "10.30.0.1:40000 > 10.30.1.2:80" as it was there.
    """

    at: str
    endpoint: str
    direction: Direction
    time: float
    ends: str

    def __str__(self) -> str:
        return f"{self.at} {self.direction}"


@dataclass(frozen=True, slots=True)
class Rewrite:
    """An endpoint that passed the packet on with other addresses or ports."""

    at: str
    way: Way
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.at} rewrote {self.before} to {self.after}"


@dataclass(frozen=True, slots=True)
class Segment:
    """One conversation: the source's own, or one that a proxy began to pass the token on."""

    there: tuple[Crossing, ...]
    back: tuple[Crossing, ...] = ()
    rewritten: tuple[Rewrite, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class TraceRun:
    """One conversation, with what proxies on its way began because of it.

    `reached`: it was seen into the target. `answered`: an answer was seen into the source. Where one of
    the two failed, `lost_at` is the endpoint or virtual link, `lost_way` "there" or "back", and `reason`
    says what was seen. `rejected_at` is the endpoint on the way that sent it back by a TCP reset or an ICMP
    error; that is no answer. `ended_in` is the endpoint that it was last seen into. `bypassed` are members
    of the forwarding path between source and target that it went round. `status` is an HTTP answer's.
    """

    source: str
    segments: tuple[Segment, ...]
    reached: bool
    answered: bool
    reason: str
    lost_at: str | None = None
    lost_way: Way | None = None
    ended_in: str | None = None
    terminated_at: str | None = None
    bypassed: tuple[str, ...] = ()
    listener: Literal["theirs", "ours"] | None = None
    status: int | None = None
    rejected_at: str | None = None

    @property
    def hops(self) -> list[str]:
        """The connection points crossed on the way there, in order, without the source's own."""
        crossings = [crossing for segment in self.segments for crossing in segment.there]
        return Hops((each.at for each in crossings if each.endpoint != self.source), self.text())

    @property
    def back_hops(self) -> list[str]:
        """The connection points crossed on the way back, in order, without the source's own."""
        crossings = [crossing for segment in reversed(self.segments) for crossing in segment.back]
        return Hops((each.at for each in crossings if each.endpoint != self.source), self.text())

    @property
    def rewritten(self) -> tuple[Rewrite, ...]:
        """Each translation of addresses or ports, there and back, with before and after."""
        return tuple(rewrite for segment in self.segments for rewrite in segment.rewritten)

    @property
    def duration(self) -> float | None:
        """Seconds from the first crossing on the way there to the last of the answer on the way back."""
        if not self.segments or not self.segments[0].back:
            return None
        return self.segments[0].back[-1].time - self.segments[0].there[0].time

    def __bool__(self) -> NoReturn:
        raise TypeError(f"a trace is neither true nor false; compare its hops: {self!r}")

    def __repr__(self) -> str:
        return one_line(f"<{self.text()}>")

    def text(self) -> str:
        """The way and what became of it, in a line of any length."""
        crossings = [crossing for segment in self.segments for crossing in segment.there]
        way = " -> ".join(each.at for each in crossings if each.endpoint != self.source) or "nowhere"
        notes = [self.reason] if not (self.reached and self.answered) else []
        if self.terminated_at and len(self.segments) > 1:
            notes.append(f"ended and begun anew by {self.terminated_at}")
        if self.bypassed:
            notes.append(f"went round {', '.join(self.bypassed)}")
        notes += [str(rewrite) for rewrite in self.rewritten if rewrite.way == "there"]
        took = f" ({milliseconds(self.duration)})" if self.duration is not None else ""
        return f"{self.source} -> {way}{took}{''.join(f'; {note}' for note in notes)}"


@dataclass(frozen=True, slots=True, repr=False)
class Trace:
    """What a trace found, once or `count` times.

    What is said of one conversation (`hops`, `rewritten`, `lost_at`, …) is said here if it holds for all;
    if the conversations differ, ProbeError names the ways they took, and `runs` has each.
    """

    source: str
    target: str
    protocol: TraceProtocol
    port: int | None
    runs: tuple[TraceRun, ...]

    @property
    def ways(self) -> dict[tuple[str, ...], int]:
        """How many conversations took which way; the most frequent first."""
        return dict(Counter(tuple(run.hops) for run in self.runs).most_common())

    @property
    def ended_in(self) -> dict[str, int]:
        """How many conversations were last seen into which endpoint; the most frequent first."""
        return dict(Counter(run.ended_in or "nowhere" for run in self.runs).most_common())

    @property
    def lost(self) -> int:
        """How many conversations did not reach the target, or got no answer."""
        return sum(not (run.reached and run.answered) for run in self.runs)

    @property
    def hops(self) -> list[str]:
        """The connection points crossed on the way there, in order, without the source's own."""
        return self._common.hops

    @property
    def back_hops(self) -> list[str]:
        """The connection points crossed on the way back, in order, without the source's own."""
        return self._common.back_hops

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The conversations: the source's own, and those that proxies began because of it."""
        return self._common.segments

    @property
    def there(self) -> tuple[Crossing, ...]:
        """Every crossing on the way there, those of the source too, with its time."""
        return tuple(crossing for segment in self._common.segments for crossing in segment.there)

    @property
    def back(self) -> tuple[Crossing, ...]:
        """Every crossing on the way back, those of the source too, with its time."""
        return tuple(crossing for segment in reversed(self._common.segments) for crossing in segment.back)

    @property
    def rewritten(self) -> tuple[Rewrite, ...]:
        """Each translation of addresses or ports, there and back, with before and after."""
        return self._common.rewritten

    @property
    def terminated_at(self) -> str | None:
        """The endpoint that ended the conversation in the target's place or began another; None: none did."""
        return self._common.terminated_at

    @property
    def rejected_at(self) -> str | None:
        """The endpoint before the target that sent it back (TCP reset, ICMP error); None: none did."""
        return self._common.rejected_at

    @property
    def reached(self) -> bool:
        """Whether it was seen into the target."""
        return self._common.reached

    @property
    def answered(self) -> bool:
        """Whether an answer was seen into the source."""
        return self._common.answered

    @property
    def lost_at(self) -> str | None:
        """The endpoint or virtual link at which it, or its answer, was lost; None: nowhere."""
        return self._common.lost_at

    @property
    def lost_way(self) -> Way | None:
        """On which way it was lost, "there" or "back"; None: it was not."""
        return self._common.lost_way

    @property
    def reason(self) -> str:
        """What was seen where it ended, in words."""
        return self._common.reason

    @property
    def bypassed(self) -> tuple[str, ...]:
        """The members of the forwarding path that it went round."""
        return self._common.bypassed

    @property
    def listener(self) -> Literal["theirs", "ours"] | None:
        """Whose listener answered, "theirs" or "ours"; None: nobody's."""
        return self._common.listener

    @property
    def status(self) -> int | None:
        """The status of the HTTP answer; None without one."""
        return self._common.status

    @property
    def _common(self) -> TraceRun:
        if len(self.ways) > 1:
            raise ProbeError(f"the conversations differ; look at `ways` or `runs`: {self!r}")
        return self.runs[0]

    def __bool__(self) -> NoReturn:
        raise TypeError(f"a trace is neither true nor false; compare its hops: {self!r}")

    def __str__(self) -> str:
        return "\n".join(run.text() for run in self.runs)

    def __repr__(self) -> str:
        what = self.protocol if self.port is None else f"{self.protocol} {self.port}"
        if len(self.runs) == 1:
            return one_line(f"<trace {what} {self.runs[0].text()}>")
        ways = "; ".join(f"{number} by {' -> '.join(way) or 'nowhere'}" for way, number in self.ways.items())
        lost = f"{self.lost} lost; " if self.lost else ""
        return one_line(
            f"<trace {what} {self.source} -> {self.target}, {len(self.runs)} times: {lost}{ways}>"
        )


@dataclass(frozen=True, slots=True, repr=False)
class PathCheck:
    """Whether a conversation crossed the stations of a forwarding path, each once and in order.

    `skipped` were not crossed, `extra` are not in the path. `trace` is what was really seen.
    """

    path: str
    expected: tuple[str, ...]
    trace: TraceRun
    skipped: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def followed(self) -> bool:
        """Whether the stations were crossed, each once, in order, and nothing else."""
        return tuple(self.trace.hops) == self.expected

    def __bool__(self) -> bool:
        return self.followed

    def __repr__(self) -> str:
        if self.followed:
            return one_line(f"<path {self.path} is followed: {' -> '.join(self.expected)}>")
        notes = []
        if self.skipped:
            notes.append(f"skipped {', '.join(self.skipped)}")
        if self.extra:
            notes.append(f"crossed {', '.join(self.extra)} besides")
        if self.trace.lost_at:
            notes.append(self.trace.reason)
        if not notes:
            notes.append("another order")
        return one_line(f"<path {self.path} is not followed: {'; '.join(notes)}; seen {self.trace.text()}>")

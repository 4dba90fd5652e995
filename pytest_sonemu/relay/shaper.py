"""One direction of one link as a pure state machine: frames and times go in, frames and times come out.

Time is int nanoseconds and always given from outside. A frame passes, in this order: loss, duplication and
corruption; reordering; the queue before the rate; the rate; delay and jitter. All times worked out are the
ideal ones, when a frame would have left a perfect link, so that being called late never adds up.
"""

from __future__ import annotations

from collections import deque
from functools import partial

from pytest_sonemu.relay.agenda import Agenda
from pytest_sonemu.relay.counters import LaneCounters
from pytest_sonemu.relay.decisions import Decider, key_of, nanoseconds
from pytest_sonemu.relay.lanes import Frame, Held, Lane, taken_by
from pytest_sonemu.relay.model import Direction, Impairment
from pytest_sonemu.relay.offload import corrupted

_LEAST_QUEUE, _MOST_QUEUE = 48 * 1024, 16 * 2**20
_QUANTUM = 1514
_WIDEST = 4  # times the jitter: later than that few are


class Shaper:
    """One direction of one link, with a lane for each flow that crosses it.

    A full queue takes the place of the flow with most bytes in it; flows take turns at the rate by bytes
    (deficit round robin), so that each virtual link gets its fair share whatever the others send.
    """

    def __init__(self, agenda: Agenda, link: str, direction: Direction, impairment: Impairment) -> None:
        self.link = link
        self.direction = direction
        self.lanes: list[Lane] = []
        self.gone = LaneCounters()  # of flows that were taken away
        self._agenda = agenda
        self._turn: deque[Lane] = deque()  # lanes with a queue, the next to be served first
        self._packets = self._bytes = 0  # of the whole queue
        self._free_at = self._rest = (
            0  # when the rate is free again: ns, and the part below one times the rate
        )
        self._epoch = 0  # outdates service that is on the agenda
        self._quantum = _QUANTUM
        self._set(impairment)

    def admit(self, virtual_link: str, member: str = "") -> Lane:
        """A lane for one more flow."""
        lane = Lane(self, virtual_link, member, self._deciders(virtual_link, member))
        self.lanes.append(lane)
        return lane

    def dismiss(self, lane: Lane) -> None:
        """A flow is taken away. What of it is on its way here goes on none the less."""
        self.lanes.remove(lane)
        self.gone.add(lane.counters)

    @property
    def counters(self) -> LaneCounters:
        """Of all flows, those that were taken away too."""
        total = LaneCounters()
        for counters in (self.gone, *(lane.counters for lane in self.lanes)):
            total.add(counters)
        return total

    def impair(self, impairment: Impairment, now: int) -> None:
        """Change what is done to frames. Numbering starts again; frames that wait keep their order.

        What is being sent takes its rest at the new rate; what is delayed leaves as if it came now.
        """
        rate, busy = self._rate, max(self._free_at - now, 0)
        self._set(impairment)
        if self._rate != rate:
            if busy:
                self._free_at = now + (busy * rate // self._rate if self._rate else 0)
            self._rest = 0
        latest = max(self._free_at, now) + self._delay + _WIDEST * nanoseconds(impairment.jitter)
        self._agenda.hurry(self, latest)
        for lane in self.lanes:
            lane.deciders = self._deciders(lane.virtual_link, lane.member)
            lane.last_exit = min(lane.last_exit, latest)
        if self._turn:
            self._epoch += 1
            self._serve(now)

    def arrive(self, lane: Lane, frame: Frame, now: int) -> None:
        """A frame enters this link."""
        counters = lane.counters
        counters.packets += frame.segments
        counters.bytes += frame.size
        if not self._drawn:
            self._line_up(lane, frame, now)
        else:
            self._decide(lane, frame, now)
        if lane.held:
            self._pass_held(lane, frame, now)

    def _decide(self, lane: Lane, frame: Frame, now: int) -> None:
        counters = lane.counters
        decision = lane.deciders[frame.kind].next(frame.segments)
        if decision.lost:
            counters.lost += frame.segments
            self._agenda.held -= taken_by(len(frame.data))
            return
        twin = None
        frame.jitter = decision.jitter
        if decision.duplicate and self._agenda.full():
            frame.way.counters.memory += frame.segments
        elif decision.duplicate:
            counters.duplicated += frame.segments
            twin = frame.copy()
            self._agenda.held += taken_by(len(twin.data))
            twin.jitter = decision.copy_jitter
        if decision.corrupt:
            counters.corrupted += frame.segments
            frame.data = corrupted(frame.data, decision.place)
        if decision.reorder:
            counters.reordered += frame.segments
            held = Held(frame, self.impairment.reorder_gap)
            lane.held.append(held)

            def release(_: Frame, at: int) -> None:
                if not held.released:
                    held.released = True
                    lane.held.remove(held)
                    self._line_up(lane, frame, at)

            self._agenda.put(now + nanoseconds(self.impairment.reorder_delay), release, frame)
        else:
            self._line_up(lane, frame, now)
        if twin is not None:
            self._line_up(lane, twin, now)

    def _pass_held(self, lane: Lane, passing: Frame, now: int) -> None:
        ready = []
        for held in lane.held:
            if held.frame is not passing:
                held.after -= 1
                if held.after <= 0:
                    ready.append(held)
        for held in ready:
            held.released = True
            lane.held.remove(held)
            self._line_up(lane, held.frame, now)

    def _line_up(self, lane: Lane, frame: Frame, now: int) -> None:
        """Into the queue before the rate, or on at once where there is neither."""
        if not self._rate and not self._turn:
            self._leave(lane, frame, now)
            return
        if not self._make_room(lane, frame):
            lane.counters.overflowed += frame.segments
            self._agenda.held -= taken_by(len(frame.data))
            return
        frame.arrived = now
        if not lane.queue:
            lane.deficit = 0
            self._turn.append(lane)
        lane.queue.append(frame)
        lane.counters.queued_packets += frame.segments
        lane.counters.queued_bytes += frame.size
        self._packets += frame.segments
        self._bytes += frame.size
        if self._packets == frame.segments:  # it was empty: nobody is going to serve it
            self._epoch += 1
            self._serve(now)

    def _make_room(self, lane: Lane, frame: Frame) -> bool:
        while self._packets and (
            (self._most_bytes is not None and self._bytes + frame.size > self._most_bytes)
            or (self._most_packets is not None and self._packets + frame.segments > self._most_packets)
        ):
            longest = max(self._turn, key=_length)
            if _length(longest) <= lane.counters.queued_bytes + frame.size or longest is lane:
                return False
            last = longest.queue.pop()
            longest.counters.overflowed += last.segments
            self._agenda.held -= taken_by(len(last.data))
            self._taken(longest, last)
            if not longest.queue:
                self._turn.remove(longest)
        return True

    def _taken(self, lane: Lane, frame: Frame) -> None:
        lane.counters.queued_packets -= frame.segments
        lane.counters.queued_bytes -= frame.size
        self._packets -= frame.segments
        self._bytes -= frame.size

    def _serve(self, now: int) -> None:
        """Let frames go while the rate is free; then be called again."""
        while self._turn:
            if self._free_at > now:
                again = partial(self._serve_again, self._epoch)
                self._agenda.put(self._free_at, again, self._turn[0].queue[0])
                return
            lane = self._turn[0]
            frame = lane.queue[0]
            if lane.deficit < frame.size:
                self._quantum = max(self._quantum, frame.size)
                lane.deficit += self._quantum
                if len(self._turn) > 1 and lane.deficit < frame.size:
                    self._turn.rotate(-1)
                continue
            lane.queue.popleft()
            lane.deficit -= frame.size
            self._taken(lane, frame)
            if not lane.queue:
                self._turn.popleft()
            elif lane.deficit < lane.queue[0].size:
                self._turn.rotate(-1)
            self._leave(lane, frame, self._through_rate(frame, now))

    def _serve_again(self, epoch: int, _: Frame, now: int) -> None:
        if epoch == self._epoch:
            self._serve(now)

    def _through_rate(self, frame: Frame, now: int) -> int:
        """When the last bit of a frame that starts now is on the wire."""
        if not self._rate:
            return now
        start = frame.arrived - self._burst
        if start > self._free_at:
            self._free_at, self._rest = start, 0
        time, self._rest = divmod(frame.size * 8 * 10**9 + self._rest, self._rate)
        self._free_at += time
        return max(self._free_at, frame.arrived)

    def _leave(self, lane: Lane, frame: Frame, now: int) -> None:
        """Through the delay."""
        lane.counters.sent_packets += frame.segments
        lane.counters.sent_bytes += frame.size
        time = now + max(self._delay + frame.jitter, 0)
        if not self._free_order:
            time = max(time, lane.last_exit)
        frame.jitter = 0
        if time == now and lane.last_exit < now and not self._rate:
            self._agenda.onward(frame, now)
            return
        lane.last_exit = max(time, lane.last_exit)
        self._agenda.put(time, self._agenda.onward, frame)

    def _set(self, impairment: Impairment) -> None:
        self.impairment = impairment
        self._delay = nanoseconds(impairment.delay)
        self._free_order = impairment.jitter_reorders
        self._drawn = impairment.drawn
        self._rate = impairment.rate or 0
        self._burst = burst_time(impairment)
        self._most_packets, self._most_bytes = queue_limits(impairment)

    def _deciders(self, virtual_link: str, member: str) -> tuple[Decider, Decider]:
        seed = self.impairment.seed
        keys = [key_of(seed, self.link, self.direction, virtual_link, kind, member) for kind in (0, 1)]
        return Decider(self.impairment, keys[0]), Decider(self.impairment, keys[1])


def _length(lane: Lane) -> int:
    return lane.counters.queued_bytes


def burst_time(impairment: Impairment) -> int:
    """How long the burst would take at the rate, in ns."""
    return min(impairment.burst * 8 * 10**9 // impairment.rate, 10**18) if impairment.rate else 0


def queue_limits(impairment: Impairment) -> tuple[int | None, int | None]:
    """The most frames and the most bytes that wait for the rate."""
    packets, size = impairment.queue_packets, impairment.queue_bytes
    if impairment.rate and packets is None and size is None:
        size = min(max(impairment.rate // 80, _LEAST_QUEUE), _MOST_QUEUE)
    return packets, size

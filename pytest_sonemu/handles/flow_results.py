"""What a flow came to: counted as packets go and come, read at any moment (pure)."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_sonemu.handles.results import Rtt, milliseconds, one_line

# An arrival later than so many intervals after the one before is a gap, if it is as long as this too.
_INTERVALS = 5
_SHORTEST = 0.010


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which nothing arrived: from `began` (seconds since the epoch), `duration` seconds long."""

    began: float
    duration: float

    def __repr__(self) -> str:
        return f"<gap of {milliseconds(self.duration)}>"


@dataclass(frozen=True, slots=True, repr=False)
class FlowStats:
    """What a flow came to up to a moment.

    `received` counts each packet once, `duplicated` what came again, `reordered` what came after a later
    one; `lost` is what was sent and has not come, in a running flow also what is under way. `longest_gap`
    is the longest time in seconds between two arrivals, the silences at the beginning and the end
    included; `gaps` are all that are longer than 10 ms and five times the distance of two packets.
    `latency` is one way in seconds, for HTTP from the request to its answer; `jitter` is the mean
    difference between one latency and the next; both are None while nothing has arrived. `by_server`
    says how many each server got. `sender_pause` is the longest time in seconds by which the sender
    itself was late: a gap of that length may be its own.
    """

    sent: int = 0
    received: int = 0
    duplicated: int = 0
    reordered: int = 0
    longest_gap: float = 0.0
    gaps: tuple[Gap, ...] = ()
    latency: Rtt | None = None
    jitter: float | None = None
    by_server: Mapping[str, int] = field(default_factory=dict)
    sender_pause: float = 0.0
    error: str | None = None

    @property
    def lost(self) -> int:
        """Packets sent that have not come; in a running flow also what is under way."""
        return max(0, self.sent - self.received)

    @property
    def loss(self) -> float:
        """The share of what was sent that has not come."""
        return self.lost / self.sent if self.sent else 0.0

    def __bool__(self) -> bool:
        raise TypeError(f"flow statistics are neither true nor false; compare a figure of them: {self!r}")

    def __repr__(self) -> str:
        return one_line(f"<flow: {self.figures}>")

    @property
    def figures(self) -> str:
        """The figures that matter in one line."""
        parts = [f"{self.received} of {self.sent} arrived", f"longest gap {milliseconds(self.longest_gap)}"]
        parts += [f"{self.lost} lost"] if self.lost else []
        parts += [f"{self.duplicated} duplicated"] if self.duplicated else []
        parts += [f"{self.reordered} reordered"] if self.reordered else []
        if self.latency is not None:
            parts.append(f"latency median {milliseconds(self.latency.median)}")
        if self.sender_pause > _SHORTEST:
            parts.append(f"sender late by {milliseconds(self.sender_pause)}")
        return ", ".join(parts) + (f"; {self.error}" if self.error else "")


class Tally:
    """Counts what goes and comes. Thread-safe; times are seconds since the epoch, numbers start at 0."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._threshold = max(_SHORTEST, _INTERVALS * interval)
        self._lock = threading.Lock()
        self._seen = bytearray()
        self._latencies = array("d")
        self._gaps: list[Gap] = []
        self._by_server: dict[str, int] = {}
        self._sent = self._received = self._duplicated = self._reordered = 0
        self._highest = -1
        self._first_sent = self._last_sent = self._last_arrival = self._sent_of_last = 0.0
        self._awake = self._pause = self._longest = self._swing = 0.0
        self._over = False
        self.error: str | None = None

    @property
    def sent(self) -> int:
        return self._sent

    @property
    def received(self) -> int:
        return self._received

    @property
    def last_arrival(self) -> float:
        """When the last packet arrived; 0.0: none has."""
        return self._last_arrival

    @property
    def longest_latency(self) -> float:
        with self._lock:
            return max(self._latencies[-1000:], default=0.0)

    def send(self, time: float) -> int:
        """A packet is sent now; its number."""
        with self._lock:
            if self._sent:
                self._pause = max(self._pause, time - self._awake - self._interval)
            else:
                self._first_sent = time
            self._last_sent = self._awake = time
            self._seen.append(0)
            self._sent += 1
            return self._sent - 1

    def hold(self, time: float) -> None:
        """A packet would be sent now, but the connection takes none: a pause that is not the sender's own."""
        with self._lock:
            self._pause = max(self._pause, time - self._awake - self._interval)
            self._awake = time

    def arrive(self, number: int, sent: float, arrived: float, server: str) -> None:
        """A packet that was sent at a time has arrived at another."""
        with self._lock:
            if not 0 <= number < self._sent:
                return
            if self._seen[number]:
                self._duplicated += 1
                return
            self._seen[number] = 1
            self._by_server[server] = self._by_server.get(server, 0) + 1
            self._reordered += number < self._highest
            self._highest = max(self._highest, number)
            if self._received:
                self._gap(self._last_arrival, arrived - self._last_arrival)
                self._swing += abs(arrived - sent - self._latencies[-1])
            else:
                # By the clock of what was sent: how long the way is does not matter.
                self._gap(self._first_sent, sent - self._first_sent)
            self._received += 1
            self._last_arrival, self._sent_of_last = max(arrived, self._last_arrival), sent
            self._latencies.append(arrived - sent)

    def finish(self) -> None:
        """Nothing more is sent, and nothing waited for."""
        with self._lock:
            if not self._over:
                self._over = True
                if self._received < self._sent:
                    self._gap(*self._silence())

    def stats(self, now: float) -> FlowStats:
        with self._lock:
            longest, gaps = self._longest, self._gaps
            if not self._over and self._sent:
                began = self._last_arrival if self._received else self._first_sent
                if now - began > self._threshold:
                    longest, gaps = max(longest, now - began), [*gaps, Gap(began, now - began)]
            return FlowStats(
                sent=self._sent,
                received=self._received,
                duplicated=self._duplicated,
                reordered=self._reordered,
                longest_gap=longest,
                gaps=tuple(gaps),
                latency=Rtt.of(list(self._latencies)) if self._latencies else None,
                jitter=self._swing / (self._received - 1) if self._received > 1 else None,
                by_server=dict(self._by_server),
                sender_pause=self._pause,
                error=self.error,
            )

    def _silence(self) -> tuple[float, float]:
        """From the last packet that has arrived to the last that was sent, by the clock of the sender."""
        since = self._sent_of_last if self._received else self._first_sent
        return (self._last_arrival or since), max(0.0, self._last_sent - since)

    def _gap(self, began: float, duration: float) -> None:
        self._longest = max(self._longest, duration)
        if duration > self._threshold:
            self._gaps.append(Gap(began, duration))

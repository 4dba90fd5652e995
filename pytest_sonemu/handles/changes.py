"""What a test may have changed in ways that no step of ours takes back: seen from outside.

While a command of the test runs, an endpoint's network and its packet filters are compared before and
after; files and processes are compared over the whole test, and count only if they date from the
time of a command (ruling 20). So what a VNF does by itself, under load or not, never counts.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pytest_sonemu.emulation.client import BedClient
from pytest_sonemu.emulation.readings import FileEntry, ProcessEntry, Surveyed
from pytest_sonemu.errors import BedGoneError, EmulationError, ProbeError, SonemuError
from pytest_sonemu.handles.network_state import State, network_state

# The kernel dates files by its tick, and processes by a hundredth of a second.
SLACK = 0.03
MOST_NAMED = 4
ORDER = "rules in order"


@dataclass(frozen=True, slots=True)
class Span:
    """A time during which commands of the test ran: in seconds since the epoch, and since boot."""

    start: float
    end: float
    boot_start: float
    boot_end: float


@dataclass(eq=False)
class Watched:
    """One endpoint that the test has commanded. `network` is its state when the running span began."""

    before: Surveyed | None
    spans: list[Span] = field(default_factory=list)
    depth: int = 0
    network: State | None = None
    started: tuple[float, float] = (0.0, 0.0)
    drift: Counter[str] = field(default_factory=Counter)
    unknown: str = ""


class Changes:
    """The changes to one instance since the last `judge`; thread-safe. It costs nothing until `begin`."""

    def __init__(
        self,
        client: BedClient,
        instance: str,
        ignored: Callable[[str], tuple[str, ...]],
        has_files: Callable[[str], bool],
    ) -> None:
        self._client, self._instance = client, instance
        self._ignored, self._has_files = ignored, has_files
        self._watched: dict[str, Watched] = {}
        self._lock = threading.RLock()

    def begin(self, endpoint: str) -> Callable[[], None]:
        """From now until the returned function is called, a command of the test may change `endpoint`."""
        self._client.touched.add(self._instance)
        with self._lock:
            watched = self._watched.get(endpoint)
            if watched is None:
                watched = self._watched[endpoint] = Watched(self._survey(endpoint))
            if watched.depth == 0:
                watched.network = self._network(endpoint, watched)
                watched.started = _clocks()
            watched.depth += 1
        ended = False

        def end() -> None:
            nonlocal ended
            with self._lock:
                # After `judge` it belongs to a test that is over.
                if ended or self._watched.get(endpoint) is not watched:
                    return
                ended = True
                watched.depth -= 1
                if watched.depth == 0:
                    self._close(endpoint, watched)

        return end

    def set_aside(self, endpoint: str) -> Watched | None:
        """Stop to watch an endpoint whose container is replaced; returns what was known of the one before."""
        with self._lock:
            return self._watched.pop(endpoint, None)

    def put_back(self, endpoint: str, watched: Watched | None) -> None:
        """The container from before is there again: what has been seen since was the other's."""
        with self._lock:
            self._watched.pop(endpoint, None)
            if watched is not None:
                self._watched[endpoint] = watched

    def judge(self) -> tuple[str, ...]:
        """What is not as it was before the test, a sentence per endpoint; then all is forgotten."""
        with self._lock:
            found = [sentence for name in self._watched for sentence in self._difference(name)]
            self._watched = {}
        return tuple(found)

    def _difference(self, endpoint: str) -> Iterator[str]:
        watched = self._watched[endpoint]
        if watched.depth:
            self._close(endpoint, watched)
        differences = drifted(watched.drift)
        if watched.before is not None:
            after = self._survey(endpoint)
            if after is not None:
                differences += changed_files(watched.before.files, after.files, watched.spans)
                differences += new_processes(watched.before.processes, after.processes, watched.spans)
        if watched.unknown:
            differences.append(watched.unknown)
        if differences:
            more = f" and {len(differences) - MOST_NAMED} more" if len(differences) > MOST_NAMED else ""
            yield f"{endpoint}: {'; '.join(differences[:MOST_NAMED])}{more}"

    def _close(self, endpoint: str, watched: Watched) -> None:
        now, boot = _clocks()
        watched.spans.append(Span(watched.started[0], now, watched.started[1], boot))
        after = self._network(endpoint, watched)
        if watched.network is not None and after is not None:
            watched.drift.update(after)
            watched.drift.subtract(watched.network)
        watched.network, watched.depth = None, 0

    def _network(self, endpoint: str, watched: Watched) -> State | None:
        """None: it is not running."""
        try:
            state = network_state(self._client, self._instance, endpoint)
            state.update(rule_lines(self._client.rules(self._instance, endpoint)))
        except BedGoneError:
            raise
        except (EmulationError, ProbeError):
            return None
        return state

    def _survey(self, endpoint: str) -> Surveyed | None:
        if not self._has_files(endpoint):
            return None
        try:
            return self._client.survey(self._instance, endpoint, self._ignored(endpoint))
        except BedGoneError:
            raise
        except SonemuError:
            return None


def drifted(drift: Counter[str]) -> list[str]:
    """What has come (+) and gone (-); a new order of rules only where nothing else is (pure)."""
    come = [f"+ {text}" for text, count in sorted(drift.items()) if count > 0]
    gone = [f"- {text}" for text, count in sorted(drift.items()) if count < 0]
    real = [text for text in come + gone if not text[2:].startswith(ORDER)]
    return real or (["the order of its rules"] if come or gone else [])


def changed_files(
    before: tuple[FileEntry, ...], after: tuple[FileEntry, ...], spans: list[Span]
) -> list[str]:
    """The files that differ and were changed while a command ran (pure)."""
    old, new = ({entry.path: entry for entry in entries} for entries in (before, after))
    found = []
    for path, entry in new.items():
        known = old.get(path)
        same = known is not None and _shape(known) == _shape(entry)
        if not same and _within(entry.noted / 1e9, spans):
            what = "removed" if entry.size < 0 else "changed" if known or entry.in_image else "new"
            found.append(f"file {path} {what}")
    for path in old.keys() - new.keys():
        # Nothing is left that could be dated but the folder it was in.
        folder = new.get(os.path.dirname(path))
        if folder is None or _within(folder.noted / 1e9, spans):
            found.append(f"file {path} removed")
    return sorted(found)


def new_processes(
    before: tuple[ProcessEntry, ...], after: tuple[ProcessEntry, ...], spans: list[Span]
) -> list[str]:
    """The processes that a command left behind: programs that did not run before (pure)."""
    programs = {(process.executable, process.argv) for process in before}
    sessions = {process.session for process in before}
    ticks = os.sysconf("SC_CLK_TCK")
    boot_spans = [Span(span.boot_start, span.boot_end, 0, 0) for span in spans]
    return [
        f"process `{' '.join(process.argv)}` left behind"
        for process in after
        if process.session not in sessions
        and (process.executable, process.argv) not in programs
        and _within(process.started / ticks, boot_spans)
    ]


def _shape(entry: FileEntry) -> tuple[int, int, int]:
    return (entry.size, entry.mode, entry.changed)


def _within(moment: float, spans: list[Span]) -> bool:
    return any(span.start - SLACK <= moment <= span.end + SLACK for span in spans)


def rule_lines(text: str) -> Iterator[str]:
    """The lines of a rule set, each behind the blocks it is in, and one for their order (pure)."""
    blocks: list[str] = []
    for line in text.splitlines():
        words = line.strip()
        if words == "}":
            del blocks[-1:]
        elif words:
            yield "rules: " + " ".join([*blocks, words.removesuffix("{").rstrip()])
            if words.endswith("{"):
                blocks.append(words.removesuffix("{").rstrip())
    if text:
        yield f"{ORDER} {hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _clocks() -> tuple[float, float]:
    return time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)

"""What VNFs have written, with the time of each line: Docker's log, and the entry script's own."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pytest_sonemu.emulation.docker_api import DockerClient, calling


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a VNF's output, written at `time` (seconds since the epoch)."""

    time: float
    text: str


def container_lines(api: DockerClient, container: str, since: float = 0.0) -> list[LogLine]:
    """The lines that a container has written since a time, in order."""
    with calling(f"read the log of {container[:12]}"):
        # Docker takes whole seconds through the SDK: the rest is cut off here.
        written: bytes = api.logs(container, timestamps=True, since=int(since) if since else None)
    lines = map(_stamped, written.decode(errors="replace").splitlines())
    return [line for line in lines if line.time >= since]


def entry_lines(log: Path, since: float = 0.0) -> list[LogLine]:
    """The lines that an entry script has written; the keeper notes beside the log when each part came."""
    try:
        data, index = log.read_bytes(), log.with_suffix(".times").read_text()
    except FileNotFoundError:
        return []
    parts = [(int(start), float(when)) for start, when in (line.split() for line in index.splitlines())]
    starts = [start for start, _when in parts]
    found = []
    for offset, text in _with_offsets(data):
        at = bisect_right(starts, offset) - 1
        when = parts[at][1] if at >= 0 else 0.0
        if when >= since:
            found.append(LogLine(when, text))
    return found


def _with_offsets(data: bytes) -> Iterator[tuple[int, str]]:
    offset = 0
    for line in data.splitlines(keepends=True):
        yield offset, line.decode(errors="replace").rstrip("\r\n")
        offset += len(line)


def _stamped(line: str) -> LogLine:
    """`2026-11-23T17:42:16.123456789Z text`"""
    stamp, _, text = line.partition(" ")
    # fromisoformat knows neither Z nor nanoseconds before Python 3.11.
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    try:
        seconds = datetime.fromisoformat(f"{whole}+00:00").timestamp()
    except ValueError:
        return LogLine(0.0, line)
    return LogLine(seconds + float(f"0.{fraction or 0}"), text)

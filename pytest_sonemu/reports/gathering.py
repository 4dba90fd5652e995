"""What a bed and its instances know of a test: gathered while they still stand as the test left them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pytest_sonemu.errors import SonemuError
from pytest_sonemu.handles.core import BedCore, InstanceCore
from pytest_sonemu.handles.logs import LogLine
from pytest_sonemu.handles.undo import UndoStack
from pytest_sonemu.handles.vnf import Vnf
from pytest_sonemu.reports.story import Entry

# More of one VNF is in the artifacts; a server under load writes thousands of lines a second.
MOST_LOG_LINES = 400


@dataclass
class Gathered:
    """Entries of the story, the whole logs by endpoint, and the places where something went wrong."""

    entries: list[Entry] = field(default_factory=list)
    logs: dict[str, list[LogLine]] = field(default_factory=dict)

    @property
    def blamed(self) -> frozenset[str]:
        return frozenset(entry.blame for entry in self.entries if entry.blame)


def gather(bed: BedCore, instances: Iterable[InstanceCore], since: float) -> Gathered:
    """All that is known of these instances since a time. What cannot be had any more is passed over."""
    found = Gathered()
    chosen = list(instances)
    names = {instance.plan.instance for instance in chosen}
    for event in bed.journal.since(since):
        found.entries.append(
            Entry(event.time, event.kind, event.place, event.text, event.failed, event.blame)
        )
    if bed.client.gone:
        return found
    try:
        for happened in bed.client.events(since):
            if happened.instance in names or not happened.instance:
                found.entries.append(
                    Entry(happened.time, "state", happened.endpoint, happened.text, True, happened.endpoint)
                )
    except SonemuError as error:
        found.entries.append(Entry(since, "note", "", f"the bed does not answer: {error}", True))
        return found
    for instance in chosen:
        for plan in instance.plan.endpoints:
            if plan.container is not None:
                _gather_log(Vnf(instance, plan, UndoStack()), since, found)
    return found


def _gather_log(vnf: Vnf, since: float, found: Gathered) -> None:
    try:
        lines = vnf.log_lines(since=0)
    except SonemuError as error:
        found.entries.append(Entry(since, "note", vnf.id, f"its log cannot be read: {error}"))
        return
    found.logs[vnf.id] = lines
    recent = [line for line in lines if line.time >= since and line.text.strip()]
    found.entries += [Entry(line.time, "log", vnf.id, line.text) for line in recent[-MOST_LOG_LINES:]]

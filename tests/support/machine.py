"""What there is on this machine of one bed: containers, keeper, run directory, namespaces."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pytest_sonemu.emulation import docker_api, places, processes


@dataclass(frozen=True)
class Traces:
    """What is left of a bed; all empty when nothing is."""

    containers: tuple[str, ...]
    keeper: bool
    run_dir: bool
    namespaces: frozenset[str]

    @property
    def none(self) -> bool:
        return not (self.containers or self.keeper or self.run_dir or self.namespaces)


@dataclass(frozen=True)
class BedOnMachine:
    """A bed that is up, as the machine sees it; `traces` asks anew what is left of it."""

    name: str
    run_dir: Path
    keeper_pid: int
    keeper_start: int
    namespaces: frozenset[str]
    seen: float

    @classmethod
    def of(cls, name: str, keeper_pid: int, uid: int = 0) -> BedOnMachine:
        started = processes.start_time(keeper_pid)
        assert started is not None, "the keeper is not there"
        held = frozenset(_namespaces_of(keeper_pid))
        now = time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")
        return cls(name, places.run_dir(name, uid), keeper_pid, started, held, now)

    def traces(self) -> Traces:
        """What is there now. A namespace counts while a process stands in it that was there when the bed
        was looked at: the number of one that is gone is soon given to another."""
        with closing(docker_api.connect()) as docker:
            found = docker.containers(all=True, filters={"label": f"sonemu.testbed={self.name}"})
        return Traces(
            containers=tuple(container["Names"][0] for container in found),
            keeper=processes.alive(self.keeper_pid, self.keeper_start),
            run_dir=self.run_dir.exists(),
            namespaces=self.namespaces & frozenset(_all_namespaces(self.seen)),
        )

    def wait_until_gone(self, seconds: float) -> Traces:
        """What is left when nothing is, or after `seconds`."""
        wait(lambda: self.traces().none, seconds)
        return self.traces()


def wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask again and again until a condition holds; whether it did."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _namespaces_of(pid: int) -> Iterator[str]:
    """The network namespaces that a process stands in or holds open, but the machine's own."""
    own = os.readlink("/proc/self/ns/net")
    found = {os.readlink(f"/proc/{pid}/ns/net")}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("net:["):
            found.add(target)
    return iter(found - {own})


def _all_namespaces(older_than: float) -> Iterator[str]:
    """The network namespaces in which a process stands that was started before that (ticks since boot)."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                namespace = os.readlink(entry / "ns/net")
            except OSError:
                continue
            started = processes.start_time(int(entry.name))
            if started is not None and started < older_than:
                yield namespace

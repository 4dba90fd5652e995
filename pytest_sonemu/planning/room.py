"""How much room the PoPs have: what they declare, times the over-provisioning factor, less what is taken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_sonemu.errors import PlacementError
from pytest_sonemu.planning.plan import PopUse
from pytest_sonemu.topology.model import PoP, Topology

# Sums of tenths of a core are not exact.
_CPU_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Demand:
    """What limits ask for: `cpu` in cores, `memory` in bytes. Without a limit nothing is counted."""

    cpu: float = 0.0
    memory: int = 0

    def __add__(self, other: Demand) -> Demand:
        return Demand(self.cpu + other.cpu, self.memory + other.memory)

    def __str__(self) -> str:
        return _amounts(self.cpu, self.memory) or "nothing"


class Room:
    """The room left in each PoP; a PoP that declares no capacity has room for everything."""

    def __init__(self, topology: Topology, used: Iterable[PopUse] = (), factor: float = 1.0) -> None:
        self._pops = {pop.name: pop for pop in topology.pops}
        self._factor = factor
        self._taken = dict.fromkeys(self._pops, Demand())
        for use in used:
            if use.pop in self._taken:
                self._taken[use.pop] += Demand(use.cpu, use.memory)

    def fits(self, pop: str, demand: Demand) -> bool:
        lacking = self._lacking(pop, demand)
        return lacking.cpu <= _CPU_TOLERANCE and lacking.memory <= 0

    def take(self, pop: str, demand: Demand, who: str) -> None:
        """Raises PlacementError where it does not fit."""
        if not self.fits(pop, demand):
            raise PlacementError(
                f"{who} asks for {demand}, but PoP {self._shortage(pop, demand)}{self._advice()}"
            )
        self._taken[pop] += demand

    def nowhere(self, demand: Demand, who: str) -> PlacementError:
        """The error for what fits into no PoP."""
        shortages = "; ".join(self._shortage(pop, demand) for pop in self._pops)
        return PlacementError(
            f"no PoP has room for {who}, which asks for {demand}: {shortages}{self._advice()}"
        )

    def give_back(self, pop: str, demand: Demand) -> None:
        self._taken[pop] += Demand(-demand.cpu, -demand.memory)

    def share_left(self, pop: str, demand: Demand) -> float:
        """The smaller share of its CPU and memory that a PoP has left once this is in it, 1 for all of it."""
        return min(
            1.0 if whole is None else (left - asked) / (whole * self._factor)
            for whole, left, asked in zip(
                _capacity(self._pops[pop]), self._left(pop), (demand.cpu, demand.memory), strict=True
            )
        )

    def _left(self, pop: str) -> tuple[float, float]:
        declared, taken = self._pops[pop], self._taken[pop]
        unlimited = float("inf")
        return (
            unlimited if declared.cpu is None else declared.cpu * self._factor - taken.cpu,
            unlimited if declared.memory is None else declared.memory * self._factor - taken.memory,
        )

    def _lacking(self, pop: str, demand: Demand) -> Demand:
        cpu, memory = self._left(pop)
        # What asks for nothing fits even where too much has been taken.
        return Demand(
            max(0.0, demand.cpu - cpu) if demand.cpu else 0.0,
            max(0, int(demand.memory - memory)) if demand.memory and memory != float("inf") else 0,
        )

    def _shortage(self, pop: str, demand: Demand) -> str:
        lacking, declared = self._lacking(pop, demand), self._pops[pop]
        cpu, memory = self._left(pop)
        parts = []
        if lacking.cpu > _CPU_TOLERANCE:
            parts.append(f"{_cpu(lacking.cpu)} ({_cpu(max(0.0, cpu))} of {_cpu(declared.cpu or 0)} left)")
        if lacking.memory > 0:
            left = _memory(max(0, int(memory)))
            parts.append(
                f"{_memory(lacking.memory)} of memory ({left} of {_memory(declared.memory or 0)} left)"
            )
        return f"'{pop}' lacks {' and '.join(parts)}" if parts else f"'{pop}' has room"

    def _advice(self) -> str:
        return (
            "; place it elsewhere, lower its limits, give the PoPs more, or let them be over-provisioned"
            f" (overprovision, now {self._factor:g})"
        )


def _capacity(pop: PoP) -> tuple[float | None, float | None]:
    return pop.cpu, pop.memory


def _amounts(cpu: float, memory: int) -> str:
    parts = [_cpu(cpu) if cpu > 0 else "", f"{_memory(memory)} of memory" if memory > 0 else ""]
    return " and ".join(part for part in parts if part)


def _cpu(cores: float) -> str:
    return f"{round(cores, 3):g} CPU"


def _memory(size: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{round(size / factor, 2):g} {unit}"
    return f"{size} B"

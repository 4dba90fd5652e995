"""Conditions put together of others: `any_of`, `all_of`."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_sonemu.errors import SettingsError
from pytest_sonemu.handles.waiting import Condition, State, Waitable, parse_conditions


@dataclass(frozen=True)
class AnyOf:
    """Holds as soon as one of its conditions does."""

    conditions: tuple[Condition, ...]

    @property
    def what(self) -> str:
        return " or ".join(condition.what for condition in self.conditions)

    @property
    def pauses(self) -> tuple[float, ...]:
        # As often as the costliest of them may be asked.
        return max((condition.pauses for condition in self.conditions), key=lambda pauses: pauses[-1])

    def check(self, vnf: Waitable) -> State:
        texts = []
        for condition in self.conditions:
            state = condition.check(vnf)
            if state.ok:
                return State(True, f"{condition.what}: {state.text}")
            texts.append(f"{condition.what}: {state.text}")
        return State(False, "; ".join(texts))


@dataclass(frozen=True)
class AllOf:
    """Holds while all of its conditions do, at one time."""

    conditions: tuple[Condition, ...]

    @property
    def what(self) -> str:
        return " and ".join(condition.what for condition in self.conditions)

    @property
    def pauses(self) -> tuple[float, ...]:
        return max((condition.pauses for condition in self.conditions), key=lambda pauses: pauses[-1])

    def check(self, vnf: Waitable) -> State:
        for condition in self.conditions:
            state = condition.check(vnf)
            if not state.ok:
                return State(False, f"{condition.what}: {state.text}")
        return State(True, "all hold")


def any_of(*conditions: object) -> AnyOf:
    """A condition that holds when one of these does: `wait_until(any_of(80, "log:ready"))`."""
    return AnyOf(_parsed("any_of", conditions))


def all_of(*conditions: object) -> AllOf:
    """A condition that holds when all of these do at one time; a list holds when each has done so once."""
    return AllOf(_parsed("all_of", conditions))


def _parsed(name: str, conditions: tuple[object, ...]) -> tuple[Condition, ...]:
    if not conditions:
        raise SettingsError(f"{name}() is of at least one condition")
    return parse_conditions(conditions, name)

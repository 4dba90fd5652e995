"""Secrets stay secret: their values are `***` in everything that a run shows or writes."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from pytest_sonemu.planning.option_models import Secret
from pytest_sonemu.planning.plan import DeploymentPlan

HIDDEN = "***"
# A shorter value would blot out ordinary words; and nobody is safe with such a secret.
SHORTEST = 4
_DEEPEST = 12
_NESTED = 3
_CUT = re.compile(r"\.\.\.|…")


class Blotter:
    """Replaces the values of secrets in texts, the longest first."""

    def __init__(self, values: Iterable[str]) -> None:
        known = {value for value in values if len(value) >= SHORTEST}
        # As it stands; as Python, JSON, a shell and a URL write it; and as these are written in turn: a text
        # in a mapping in a text that a traceback shows.
        rounds = [known]
        for _ in range(_NESTED):
            rounds.append({written for value in rounds[-1] for written in _written(value)})
        forms = set().union(*rounds)
        self._near = sorted(rounds[0] | rounds[1], key=len, reverse=True)
        self._values = sorted(forms, key=len, reverse=True)

    def __bool__(self) -> bool:
        return bool(self._values)

    def clean_bytes(self, data: bytes) -> bytes:
        """The same for the content of a file."""
        for value in self._values:
            data = data.replace(value.encode(), HIDDEN.encode())
        return data

    def clean(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, HIDDEN)
        return self._clean_cut(text) if self._values and _CUT.search(text) else text

    def _clean_cut(self, text: str) -> str:
        """What pytest has cut out of a long text: "...cret'" is half a secret."""
        for value in self._near:
            for length in range(len(value) - 1, SHORTEST - 2, -1):
                for dots in ("...", "…"):
                    text = text.replace(f"{dots}{value[-length:]}", f"{dots}{HIDDEN}")
                    text = text.replace(f"{value[:length]}{dots}", f"{HIDDEN}{dots}")
        return text

    def clean_object(self, thing: Any, depth: int = 0) -> Any:
        """The same for whatever a report is made of: texts in lists, tuples, mappings and attributes.

        Objects are changed in place; texts, tuples and what holds them are returned anew.
        """
        if isinstance(thing, str):
            return self.clean(thing)
        if depth > _DEEPEST or thing is None or isinstance(thing, (int, float, bytes)):
            return thing
        if isinstance(thing, list):
            thing[:] = [self.clean_object(each, depth + 1) for each in thing]
        elif isinstance(thing, tuple):
            return tuple(self.clean_object(each, depth + 1) for each in thing)
        elif isinstance(thing, dict):
            for key, value in thing.items():
                thing[key] = self.clean_object(value, depth + 1)
        elif type(thing).__module__.startswith("_pytest."):
            for name, value in vars(thing).items():
                object.__setattr__(thing, name, self.clean_object(value, depth + 1))
        return thing


def _written(value: str) -> Iterator[str]:
    yield repr(value)[1:-1]
    yield repr(value.encode())[2:-1]
    yield json.dumps(value)[1:-1]
    yield shlex.quote(value).removeprefix("'").removesuffix("'")
    yield quote(value, safe="")
    yield quote_plus(value)
    # In a text that holds both kinds of quotes Python escapes one of them.
    yield value.replace("\\", "\\\\").replace("'", "\\'")


def secrets_in(thing: object, depth: int = 0) -> Iterator[str]:
    """The values below every key `secrets` of plain data, as a person writes options."""
    if depth > _DEEPEST:
        return
    if isinstance(thing, Mapping):
        for key, value in thing.items():
            if key == "secrets" and isinstance(value, Mapping):
                for each in value.values():
                    yield each.reveal() if isinstance(each, Secret) else str(each)
            else:
                yield from secrets_in(value, depth + 1)
    elif isinstance(thing, (list, tuple)):
        for each in thing:
            yield from secrets_in(each, depth + 1)


def secrets_of(plans: Iterable[DeploymentPlan]) -> list[str]:
    """The values of all secrets in these plans."""
    return [
        value
        for plan in plans
        for endpoint in plan.endpoints
        if endpoint.container is not None
        for name, value in endpoint.container.environment
        if name in endpoint.container.secrets
    ]

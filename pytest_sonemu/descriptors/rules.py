"""The rules by which packages and topologies are judged, and the level each has.

A fault that keeps a service from being deployed is an error in both profiles. Of what can be deployed
all the same, `lenient` (the default) says what the rule's first level says, and `strict`, where the
published schema is law, what its second does. `docs/rules.md` is made from these tables
(`rule_docs.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from pytest_sonemu.descriptors.rule_types import Level, Profile, Rule, Setting
from pytest_sonemu.descriptors.rules_emulator import EMULATOR_RULES
from pytest_sonemu.descriptors.rules_function import FUNCTION_RULES
from pytest_sonemu.descriptors.rules_package import PACKAGE_RULES
from pytest_sonemu.descriptors.rules_service import SERVICE_RULES
from pytest_sonemu.descriptors.rules_topology import TOPOLOGY_RULES
from pytest_sonemu.errors import SettingsError, did_you_mean

__all__ = ["LENIENT", "PROFILES", "RULES", "STRICT", "Level", "Levels", "Profile", "Rule", "Setting"]

RULES: Mapping[str, Rule] = {
    rule.name: rule
    for table in (PACKAGE_RULES, SERVICE_RULES, FUNCTION_RULES, EMULATOR_RULES, TOPOLOGY_RULES)
    for rule in table
}
PROFILES: tuple[Profile, ...] = get_args(Profile)
_SETTINGS: tuple[Setting, ...] = get_args(Setting)
_ORDER: Mapping[str, int] = {"off": 0, "info": 1, "warning": 2, "error": 3}


@dataclass(frozen=True, slots=True)
class Levels:
    """Which level a finding gets: by profile, and by what was set for its rule in `own`.

    A level that was set counts for the report. A fault that cannot be deployed still cannot, so
    `off` makes a remark of it at most.
    """

    profile: Profile = "lenient"
    own: Mapping[str, Setting] = field(default_factory=dict)

    def of(self, name: str, asked: Level, *, blocks: bool) -> Setting:
        """The level of a finding of rule `name`; `blocks`: it cannot be deployed."""
        own = self.own.get(name)
        if own is not None:
            return "info" if own == "off" and blocks else own
        rule = RULES.get(name)
        if rule is None or blocks:
            return asked
        return rule.strict if self.profile == "strict" else rule.lenient

    def wants(self, name: str) -> bool:
        """Whether a finding of rule `name` that stops nothing would be said at all."""
        return self.of(name, "info", blocks=False) != "off"


LENIENT = Levels()
STRICT = Levels("strict")


def levels(
    own: Mapping[str, object] | None = None, *, profile: str | None = None, where: str = "the rules"
) -> Levels:
    """Levels from plain data: `{"evt_pd_itg_invalid_md5": "error"}`. Raises SettingsError with all faults."""
    problems: list[str] = []
    chosen: dict[str, Setting] = {}
    if profile is not None and profile not in PROFILES:
        problems.append(
            f"{where}: no profile '{profile}'{did_you_mean(profile, PROFILES)}; there are: {_list(PROFILES)}"
        )
    for name, value in (own or {}).items():
        if name not in RULES:
            near = did_you_mean(name, RULES)
            problems.append(f"{where}: no rule '{name}'{near}; docs/rules.md lists them")
            continue
        for setting in _SETTINGS:
            if value == setting or (value is False and setting == "off"):
                chosen[name] = setting
        if name not in chosen:
            near = did_you_mean(str(value), _SETTINGS)
            problems.append(f"{where}: '{value}' is no level for {name}{near}; there are: {_list(_SETTINGS)}")
    if problems:
        raise SettingsError("\n".join(problems))
    return Levels("strict" if profile == "strict" else "lenient", chosen)


def at_least(level: str, threshold: str) -> bool:
    """Whether `level` is as grave as `threshold` or graver."""
    return _ORDER[level] >= _ORDER[threshold]


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names)

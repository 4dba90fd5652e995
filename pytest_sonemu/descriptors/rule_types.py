"""What a rule is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "info"]
Setting = Literal["error", "warning", "info", "off"]
Profile = Literal["lenient", "strict"]
# Whether a finding of a rule keeps the service from being deployed.
Stops = Literal["always", "sometimes", "never"]
Area = Literal["package", "service", "function", "general", "emulator", "topology"]
ExampleFile = Literal["manifest", "nsd", "vnfd", "napd", "sonemu.yml", "project.yml", "topology", "archive"]


@dataclass(frozen=True, slots=True)
class Example:
    """A fault and its mend, as a fragment of `file`: its top-level keys replace those of the base.

    Of an `archive` both are words, not a fragment.
    """

    file: ExampleFile
    fault: str
    mend: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `lenient` and `strict` are its levels where the service can be deployed all the same."""

    name: str
    area: Area
    summary: str
    stops: Stops
    lenient: Setting
    strict: Setting
    example: Example

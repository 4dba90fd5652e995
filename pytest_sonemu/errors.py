"""Every exception this project raises on purpose.

    SonemuError
    ├── DescriptorError        a package, descriptor or topology file that cannot be used
    │   ├── PackageError       the archive or folder itself
    │   └── TopologyError      the topology file or object
    ├── PlanningError          a sound description that cannot be laid out here
    │   └── PlacementError     no PoP for a VNF
    ├── CapabilityError        asked for, but not to be had on this machine or in this version
    ├── MachineError           Docker, rights or a program is missing
    ├── EmulationError         a step of boot, start, stop or wiring failed
    │   ├── ImageError         an image cannot be had
    │   ├── NotReadyError      a VNF did not become ready, or ended while starting
    │   ├── NotRunningError    a VNF that is stopped has no network to speak from
    │   ├── BedGoneError       the test bed has ended
    │   └── UndoError          what a test changed could not be changed back
    ├── NotFoundError          no such VNF, SAP, link, connection point, bed or instance
    ├── ProbeError             a probe could not be carried out
    ├── GatekeeperError        the gatekeeper answered a request with an error
    └── SettingsError          an option, marker or setting that cannot be used

Each message says what happened, where, and what to do. `DescriptorError` carries all findings of a
file at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_sonemu.descriptors.findings import Finding

_LONGEST_NAME, _MOST_NAMES = 120, 400


class SonemuError(Exception):
    """The root of the tree: raised only through its subclasses."""


class DescriptorError(SonemuError):
    """A package, descriptor, topology or `sonemu.yml` that cannot be used.

    `findings` holds every finding of the file, errors and warnings, in file order.
    """

    def __init__(self, message: str, findings: Iterable[Finding] = ()) -> None:
        super().__init__(message)
        self.findings: tuple[Finding, ...] = tuple(findings)

    def __str__(self) -> str:
        head = super().__str__()
        if not self.findings:
            return head
        return "\n".join([head, *(f"  {finding}" for finding in self.findings)])


class PackageError(DescriptorError):
    """The archive or project folder cannot be read as a service package."""


class TopologyError(DescriptorError):
    """The topology cannot be used."""


class PlanningError(SonemuError):
    """What is asked for is well described but cannot be laid out on this topology."""


class PlacementError(PlanningError):
    """A VNF or SAP has no PoP to stand in."""


class CapabilityError(SonemuError):
    """Something that this machine, or this version, cannot do."""


class MachineError(SonemuError):
    """A part of the machine is missing (Docker, rights, a program); the message has the mend."""


class EmulationError(SonemuError):
    """A step of the emulation failed; what had been done before it was undone."""


class ImageError(EmulationError):
    """A container image can neither be found, built nor pulled."""


class NotReadyError(EmulationError):
    """A VNF did not become ready in time, or ended while starting."""


class NotRunningError(EmulationError):
    """A VNF that is stopped has no network namespace: nothing can be sent from it or asked of it."""

    @classmethod
    def of(cls, endpoint: str) -> NotRunningError:
        """The error for that endpoint."""
        return cls(f"'{endpoint}' is not running, and so has no network; start() it first")


class BedGoneError(EmulationError):
    """The test bed that a handle belongs to has ended."""


class UndoError(EmulationError):
    """What a test changed through its handles could not be changed back; the instance is not shared on."""

    @classmethod
    def of(cls, failures: Iterable[object]) -> UndoError:
        """One error for all steps that failed."""
        lines = [str(failure) for failure in failures]
        return cls("\n  ".join([f"{len(lines)} of the changes could not be undone:", *lines]))


class NotFoundError(SonemuError, LookupError):
    """There is no such thing; the message lists those that exist, nearest first."""

    def __init__(self, kind: str, wanted: str, existing: Iterable[str]) -> None:
        self.kind, self.wanted = kind, wanted
        self.existing = tuple(nearest_first(wanted, existing))
        listing = ", ".join(self.existing) if self.existing else "none"
        super().__init__(f"no {kind} '{wanted}'; there are: {listing}")


class ProbeError(SonemuError):
    """A probe could not be carried out at all (its target's answer is a result, not an error)."""


class SettingsError(SonemuError):
    """An option, marker argument or setting that cannot be used."""


class GatekeeperError(SonemuError):
    """The gatekeeper did not do what it was asked for over HTTP.

    `status` is the HTTP status, 0 where nothing answered; `detail` the whole reason.
    """

    def __init__(self, message: str, status: int = 0, detail: str = "") -> None:
        super().__init__(message)
        self.status, self.detail = status, detail or message


def nearest_first(wanted: str, existing: Iterable[str]) -> list[str]:
    """`existing` ordered by likeness to `wanted`, the rest in the order given."""
    names = list(existing)
    close = get_close_matches(wanted, names, n=3, cutoff=0.6)
    return close + [name for name in names if name not in close]


def did_you_mean(wanted: str, existing: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` where one of `existing` is near, else an empty string.

    The search is bounded: names longer than a name is, and those of quite another length, are left out.
    """
    longest = len(wanted)
    if longest > _LONGEST_NAME:
        return ""
    alike = (name for name in existing if 2 * abs(len(name) - longest) <= longest + 2)
    close = get_close_matches(wanted, list(islice(alike, _MOST_NAMES)), n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""

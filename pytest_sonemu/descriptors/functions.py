"""The VNFs of a service: which VNFD each entry of network_functions means."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pytest_sonemu.descriptors.archive import PackageFiles
from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.model import NetworkFunction
from pytest_sonemu.descriptors.points import known
from pytest_sonemu.descriptors.section import Section
from pytest_sonemu.descriptors.vnfd import FunctionDescriptor, not_emulated, read_vnfd

_USABLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)
_VERSION = re.compile(r"\s*(==|>=|<=|!=|>|<)?\s*(.*?)\s*", re.DOTALL)
_COMPARE = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_INVALID = "evt_nsd_itg_function_invalid"


@dataclass(slots=True)
class Functions:
    """The VNFs by vnf_id. `unknown` are those without a usable VNFD: their points are not judged."""

    by_id: dict[str, NetworkFunction] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    skipped: list[str] = field(default_factory=list)


def version_fits(wanted: str, version: str) -> bool:
    """Whether `version` is what `wanted` asks for: `"0.2"`, `"== 0.2"`, `">= 0.2"`."""
    match = _VERSION.fullmatch(wanted)
    sign, number = (match[1], match[2]) if match else (None, wanted)
    return bool(_COMPARE[sign or "=="](_version(version), _version(number)))


def _version(text: str) -> tuple[int, ...]:
    numbers = [int(part[:18]) for part in re.findall(r"[0-9]+", text[:200])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


class FunctionReader:
    """Reads the entries of network_functions, each VNFD once. `elsewhere` are VNFDs by `.ref`."""

    def __init__(
        self,
        descriptors: Sequence[FunctionDescriptor],
        files: PackageFiles,
        findings: Findings,
        *,
        cores: int | None = None,
        broken: Sequence[str] = (),
    ) -> None:
        self._descriptors, self._files, self._findings = descriptors, files, findings
        self._cores, self._broken = cores, broken
        self._read: dict[int, NetworkFunction] = {}
        self._users: dict[int, list[str]] = {}
        self._by_name: dict[str, list[FunctionDescriptor]] = {}
        for descriptor in descriptors:
            self._by_name.setdefault(descriptor.identity.name, []).append(descriptor)

    def read(self, section: Section) -> Functions:
        """All of them. Faults, also those of the VNFDs that are used, are findings."""
        self._check_same_identity()
        functions = Functions()
        for entry in section.sections("network_functions", "an entry of network_functions", shape=_INVALID):
            self._entry(entry, functions)
        self._check_container_names(functions)
        for descriptor in self._descriptors:
            users = self._users.get(id(descriptor), [])
            if not users:
                message = f"VNFD {descriptor.identity} is not used by the service"
                self._findings.info("sonemu_unused_vnfd", message, descriptor.place)
        return functions

    def _entry(self, entry: Section, functions: Functions) -> None:
        findings = self._findings
        vnf_id, place = entry.text("vnf_id", required="error", shape=_INVALID), entry.place_of("vnf_id")
        descriptor = self._descriptor(entry)
        if vnf_id is None:
            return
        if not _USABLE_ID.fullmatch(vnf_id):
            hint = "letters, digits, '_', '.', '-', at most 63, a letter or digit first"
            findings.error("sonemu_vnf_id", f"vnf_id '{vnf_id}' cannot name a container", place, hint)
        if vnf_id in functions.by_id:
            first = functions.by_id[vnf_id].place
            hint = f"first in line {first.line}" if first else ""
            findings.error(_INVALID, f"vnf_id '{vnf_id}' is used twice", place, hint)
            return
        if descriptor is None:
            functions.by_id[vnf_id] = NetworkFunction(vnf_id, interfaces=(), place=entry.place)
            functions.unknown.add(vnf_id)
            return
        if id(descriptor) not in self._read:
            self._read[id(descriptor)] = read_vnfd(descriptor, self._files, findings, cores=self._cores)
            functions.skipped += not_emulated(descriptor.section, descriptor.identity.name)
        users = self._users.setdefault(id(descriptor), [])
        if users:
            message = f"VNFD {descriptor.identity} is used by '{users[0]}' and '{vnf_id}': a container each"
            findings.info("sonemu_shared_vnfd", message, place)
        users.append(vnf_id)
        functions.by_id[vnf_id] = replace(self._read[id(descriptor)], id=vnf_id, place=entry.place)

    def _descriptor(self, entry: Section) -> FunctionDescriptor | None:
        name = entry.text("vnf_name", required="error", shape=_INVALID)
        vendor = entry.text("vnf_vendor", "vnf_group")
        version = entry.text("vnf_version")
        if name is None:
            return None
        same_name = self._by_name.get(name, [])
        fitting = [
            found
            for found in same_name
            if (vendor is None or not found.identity.vendor or found.identity.vendor == vendor)
            and (
                version is None or not found.identity.version or version_fits(version, found.identity.version)
            )
        ]
        if fitting:
            return max(fitting, key=lambda found: _version(found.identity.version))
        wanted = f"{vendor or '?'}/{name} {version or '?'}"
        place = entry.place_of("vnf_name")
        if same_name:
            hint = f"the package has {known(str(found.identity) for found in same_name)}"
            right_vendor = any(found.identity.vendor in ("", vendor) for found in same_name)
            place = entry.place_of("vnf_version" if right_vendor else "vnf_vendor")
        else:
            hint = self._findings.near(name, self._by_name) or f"the package has {known(self._by_name)}"
        if self._broken:
            hint += f"; {known(self._broken)} cannot be read"
        message = f"no VNFD for {wanted} in the package"
        self._findings.error("evt_nsd_itg_function_unavailable", message, place, hint)
        return None

    def _check_same_identity(self) -> None:
        seen: dict[str, FunctionDescriptor] = {}
        for descriptor in self._descriptors:
            first = seen.setdefault(str(descriptor.identity), descriptor)
            if first is not descriptor:
                message = f"VNFD {descriptor.identity} is there twice; that of {first.place.file} is taken"
                self._findings.warning(
                    "sonemu_duplicate_vnfd", message, descriptor.place, "give one another name or version"
                )

    def _check_container_names(self, functions: Functions) -> None:
        """A unit's container is `<vnf_id>.<unit_id>`: another VNF must not be called that."""
        for vnf_id, function in functions.by_id.items():
            for unit in function.units if len(function.units) > 1 else ():
                other = functions.by_id.get(f"{vnf_id}.{unit.id}")
                if other is not None and other.place is not None:
                    message = f"vnf_id '{other.id}' is the name of unit '{unit.id}' of VNF '{vnf_id}'"
                    self._findings.error("sonemu_vnf_id", message, other.place, "choose another vnf_id")

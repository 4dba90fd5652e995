"""What a VDU asks of the machine: cores and bytes.

A share in `cpu_bw` is the limit whatever the number of vCPUs is (0.3 is three tenths of one core);
without it the limit is `vcpus` cores. kB, MB, GB and TB are powers of 1024, as emulators of SONATA
packages have always counted, and so are KiB to TiB.
"""

from __future__ import annotations

import re

from pytest_sonemu.descriptors.model import Resources
from pytest_sonemu.descriptors.section import Section
from pytest_sonemu.errors import did_you_mean

_UNITS = {"B": 0, "kB": 1, "KB": 1, "KiB": 1, "MB": 2, "MiB": 2, "GB": 3, "GiB": 3, "TB": 4, "TiB": 4,
          "PT": 5, "PB": 5, "PiT": 5, "PiB": 5}  # fmt: skip
_RANGE = re.compile(r"\s*(\d{1,4})\s*(?:-\s*(\d{1,4})\s*)?")
_SECTIONS = ("cpu", "memory", "storage", "network", "pcie", "hypervisor_parameters", "vswitch_capabilities")


def read_resources(unit: Section, what: str) -> Resources:
    """The limits of a VDU. What cannot be read is a warning and no limit: it can still be deployed."""
    asked = unit.section("resource_requirements", f"resource_requirements of {what}")
    if asked is None:
        return Resources()
    asked.only(_SECTIONS)
    cpu: float | None = None
    cpu_ids: tuple[int, ...] = ()
    cpu_section = asked.section("cpu", f"cpu of {what}")
    if cpu_section is not None:
        bandwidth, count = cpu_section.number("cpu_bw"), cpu_section.number("vcpus")
        cpu = bandwidth if bandwidth is not None else count
        if cpu == 0:
            cpu_section.say("warning", f"{what} asks for no CPU at all; no limit is set", cpu_section.place)
            cpu = None
        cpu_ids = _cpu_ids(cpu_section)
    memory_section = asked.section("memory", f"memory of {what}")
    return Resources(cpu, cpu_ids, _memory(memory_section) if memory_section is not None else None)


def _cpu_ids(cpu: Section) -> tuple[int, ...]:
    written = cpu.text("cores")
    if written is None:
        return ()
    ids: set[int] = set()
    for part in written.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            message = f"cores '{written}' is not a list of cores; all are allowed"
            cpu.say("warning", message, cpu.place_of("cores"), "write it like '0,2-3'")
            return ()
        ids.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(sorted(ids))


def _memory(memory: Section) -> int | None:
    size = memory.number("size")
    unit = memory.text("size_unit") or "MB"
    if size is None:
        return None
    if unit not in _UNITS:
        near = did_you_mean(unit, _UNITS).strip(" ()")
        memory.say(
            "warning", f"size_unit '{unit}' is not known; no limit is set", memory.place_of("size_unit"), near
        )
        return None
    return int(size * 1024 ** _UNITS[unit]) or None

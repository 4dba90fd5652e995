"""What a unit asks of the machine: cores and bytes.

A share in `cpu_bw` is the limit whatever the number of vCPUs is (0.3 is three tenths of one core);
without it the limit is `vcpus` cores. kB, MB, GB and TB are powers of 1024, as emulators of SONATA
packages have always counted, and so are KiB to TiB.
"""

from __future__ import annotations

import re

from pytest_sonemu.descriptors.model import Resources
from pytest_sonemu.descriptors.section import Section

_UNITS = {"B": 0, "kB": 1, "KB": 1, "KiB": 1, "MB": 2, "MiB": 2, "GB": 3, "GiB": 3, "TB": 4, "TiB": 4,
          "PT": 5, "PB": 5, "PiT": 5, "PiB": 5}  # fmt: skip
_RANGE = re.compile(r"\s*(\d{1,4})\s*(?:-\s*(\d{1,4})\s*)?", re.ASCII)
_LONGEST_LIST = 512
_MOST_BYTES = 2**60
_LIMITS, _CORES, _REST = "sonemu_resources", "sonemu_cpu_ids", "sonemu_limit_not_set"
_WITHOUT_EFFECT = ("storage", "network", "pcie", "gpu", "hypervisor_parameters", "vswitch_capabilities")


def read_resources(unit: Section, what: str, *, cores: int | None = None) -> Resources:
    """The limits of a unit. What cannot be read is a finding and no limit: it can still be deployed.

    `cores`: how many the machine has, where that is to be checked.
    """
    asked = unit.section("resource_requirements", f"resource_requirements of {what}")
    if asked is None:
        return Resources()
    ignored = [key for key in _WITHOUT_EFFECT if asked.node_of(key) is not None]
    if ignored:
        message = f"{', '.join(ignored)} of {what}: kept, but no limit is set by it"
        if asked.findings.levels.wants(_REST):
            asked.findings.info(_REST, message, asked.node.key_place(ignored[0]))
    cpu: float | None = None
    cpu_ids: tuple[int, ...] = ()
    cpu_section = asked.section("cpu", f"cpu of {what}")
    if cpu_section is not None:
        bandwidth = cpu_section.number("cpu_bw", shape=_LIMITS)
        count = cpu_section.number("vcpus", shape=_LIMITS)
        cpu = bandwidth if bandwidth is not None else count
        if cpu == 0:
            key = "cpu_bw" if bandwidth is not None else "vcpus"
            message = f"{what} asks for no CPU at all; no limit is set"
            asked.findings.warning(_LIMITS, message, cpu_section.place_of(key))
            cpu = None
        cpu_ids = _cpu_ids(cpu_section, cores)
    memory_section = asked.section("memory", f"memory of {what}")
    return Resources(cpu, cpu_ids, _memory(memory_section) if memory_section is not None else None)


def _cpu_ids(cpu: Section, cores: int | None) -> tuple[int, ...]:
    node = cpu.node_of("cores")
    if node is None:
        return ()
    parts = [part.text for part in node.value] if isinstance(node.value, list) else node.text.split(",")
    ids: set[int] = set()
    for part in parts:
        match = _RANGE.fullmatch(part)
        if match is None or isinstance(node.value, dict) or len(parts) > _LONGEST_LIST:
            shown = node.text[:60] or node.kind
            message = f"cores '{shown}' is not a list of cores; all are allowed"
            cpu.findings.warning(_CORES, message, node.place, "write it like '0,2-3'")
            return ()
        ids.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    beyond = sorted(core for core in ids if cores is not None and core >= cores)
    if beyond:
        message = (
            f"cores '{node.text}' asks for core {beyond[0]}, and this machine has 0 to {(cores or 1) - 1}"
        )
        cpu.findings.warning(_CORES, message, node.place)
    return tuple(sorted(ids))


def _memory(memory: Section) -> int | None:
    size = memory.number("size", shape=_LIMITS)
    unit = memory.text("size_unit") or "MB"
    if size is None:
        return None
    if unit not in _UNITS:
        near = memory.findings.near(unit, _UNITS)
        message = f"size_unit '{unit}' is not known; no limit is set"
        memory.findings.warning(_LIMITS, message, memory.place_of("size_unit"), near)
        return None
    number = size * 1024 ** _UNITS[unit]
    if not 1 <= number <= _MOST_BYTES:
        message = f"a memory of {size:g} {unit} cannot be; no limit is set"
        memory.findings.warning(_LIMITS, message, memory.place_of("size"))
        return None
    return int(number)

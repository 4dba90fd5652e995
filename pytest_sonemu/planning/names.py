"""Names and numbers that are chosen, not asked for: interfaces, containers, the fabric's ends, MACs.

All of them are functions of what they name, so the same plan has the same names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from uuid import UUID, uuid5

from pytest_sonemu.descriptors import interface_names as ids
from pytest_sonemu.descriptors.interface_names import LONGEST_NAME, REFUSED, RESERVED, digest
from pytest_sonemu.descriptors.model import ConnectionPoint
from pytest_sonemu.errors import PlanningError

interface_name = ids.interface_name
_LONGEST_ALTNAME = 127
_NOT_IN_DOCKER = re.compile(r"[^a-zA-Z0-9_.-]")
_LONGEST_HOSTNAME = 63
_FIRST_INDEX = 1 << 30
_OUTER_END = re.compile(r"v(\d+)\.(\d+)")
_INSTANCES = UUID("7d1f0c7e-5b0a-4f0e-9d1c-50ee4b1d0001")


def alternative_name(point: str, name: str) -> str | None:
    """The full id as an altname of the interface, where it differs and the kernel takes it."""
    if point == name or point in RESERVED or not 1 <= len(point.encode()) <= _LONGEST_ALTNAME:
        return None
    return None if REFUSED.search(point) else point


def interface_names(owner: str, points: Sequence[ConnectionPoint]) -> dict[str, str]:
    """Point id -> interface name for one endpoint. Raises PlanningError where two points get the same."""
    names: dict[str, str] = {}
    owners: dict[str, ConnectionPoint] = {}
    for point in points:
        name = interface_name(point.id)
        other = owners.setdefault(name, point)
        if other is not point:
            places = " and ".join(str(one.place) for one in (other, point) if one.place)
            raise PlanningError(
                f"connection points '{other.id}' and '{point.id}' of '{owner}' would both be"
                f" interface '{name}'{f' ({places})' if places else ''}; rename one of them"
            )
        names[point.id] = name
    return names


def container_name(bed: str, vnf_id: str, taken: Collection[str], scheme: str = "sonemu") -> str:
    """`sonemu-<bed>-<vnf_id>`, or with `-2`, `-3`, … the first of them that is not taken.

    By the scheme "mn" it is `mn.<vnf_id>`, and an error if that is taken: who asks for it looks there.
    """
    if scheme == "mn":
        name = f"mn.{_docker_word(vnf_id)}"
        if name in taken:
            raise PlanningError(
                f"VNF '{vnf_id}': a container named {name} runs in this bed already;"
                " by the scheme 'mn' there can be one of each vnf_id: stop it first"
            )
        return name
    base = f"sonemu-{_docker_word(bed)}-{_docker_word(vnf_id)}"
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name


def instance_uuid(bed: str, instance: str, number: int) -> str:
    """The uuid of an instance for which none was asked; the same for the same instance."""
    return str(uuid5(_INSTANCES, f"{bed}/{instance}/{number}"))


def hostname(vnf_id: str) -> str:
    """The vnf_id, cut and cleaned where the kernel's or Docker's rules ask for it."""
    word = _docker_word(vnf_id)
    return word if len(word) <= _LONGEST_HOSTNAME else f"{word[: _LONGEST_HOSTNAME - 5]}-{digest(vnf_id)}"


def _docker_word(text: str) -> str:
    clean = _NOT_IN_DOCKER.sub("-", text)
    if not clean[:1].isalnum():
        clean = f"x{clean}"
    return clean if clean == text else f"{clean}-{digest(text)}"


def outer_end(number: int, index: int) -> str:
    """The fabric's end of the instance's `index`-th interface: `v3.12`."""
    return _fabric_name("v", number, index)


def outer_index(outer: str) -> int | None:
    """The interface index that an outer end is to have; None: whatever the kernel gives.

    A kernel that finds the same index at both ends of a pair, which are in two namespaces, tells of a lost
    carrier up to a second late. What it gives itself begins at 1; these are far from there.
    """
    found = _OUTER_END.fullmatch(outer)
    if found is None:
        return None
    number, index = int(found[1]), int(found[2])
    return _FIRST_INDEX | number << 16 | index if number < 1 << 14 and index < 1 << 16 else None


def sink_ends(number: int) -> tuple[str, str]:
    """The pair into which the frames of an instance's links go that are cut; nobody is at its second end."""
    name = _fabric_name("k", number, 0)
    return f"{name}a", f"{name}b"


def bridge(number: int, index: int) -> str:
    return _fabric_name("b", number, index)


def joint_ends(number: int, index: int) -> tuple[str, str]:
    name = _fabric_name("j", number, index)
    return f"{name}a", f"{name}b"


def arm_ends(number: int, index: int) -> tuple[str, str]:
    """The pair between an interface's own bridge (the first) and one of its links."""
    name = _fabric_name("s", number, index)
    return f"{name}a", f"{name}b"


def patch_ends(number: int, index: int) -> tuple[str, str]:
    """The pair between a link of this instance (the first) and one of another."""
    name = _fabric_name("p", number, index)
    return f"{name}a", f"{name}b"


def _fabric_name(letter: str, number: int, index: int) -> str:
    name = f"{letter}{number}.{index}"
    if len(name) >= LONGEST_NAME:
        raise PlanningError(
            f"instance number {number} with {index} interfaces is too much for one bed; boot another"
        )
    return name


def mac(number: int, index: int) -> str:
    """A locally administered unicast MAC, unique in the bed by instance number and interface index."""
    if not (0 <= number < 1 << 24 and 0 <= index < 1 << 16):
        raise PlanningError(
            f"instance number {number} with {index} interfaces is too much for one bed; boot another"
        )
    octets = (0x02, *number.to_bytes(3, "big"), *index.to_bytes(2, "big"))
    return ":".join(f"{octet:02x}" for octet in octets)

"""Each option's value, from what YAML, a marker or the command line gives.

A parser returns the typed value or raises ValueError.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar, cast

from pytest_sonemu import units
from pytest_sonemu.errors import SettingsError, did_you_mean
from pytest_sonemu.planning.option_models import (
    AddressPlanName,
    ContainerNames,
    Placement,
    ReadyCondition,
    Routes,
    Secret,
    sap_option_names,
    service_option_names,
    vnf_option_names,
)
from pytest_sonemu.planning.plan import MountPlan, Network
from pytest_sonemu.topology.impairments import Access, Impairments, parse_access, parse_link

_Asked = TypeVar("_Asked", Access, Impairments)

PLACEMENTS = ("round-robin", "first", "least-delay", "capacity")
CONTAINER_NAMES: tuple[ContainerNames, ...] = ("sonemu", "mn")
ADDRESS_PLANS: tuple[AddressPlanName, ...] = ("vim-emu", "seed", "llcm")
_ROUTES = ("all", "path", "none")


class _Problem(ValueError):
    """A value that cannot be used; who reads it knows where it stands."""


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float, Path)):
        return str(value)
    raise _Problem(f"{value!r} is not a text")


def _word(value: object) -> str:
    text = _text(value).strip()
    if not text:
        raise _Problem("is empty")
    return text


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("on", "true", "yes", "off", "false", "no"):
        return value.lower() in ("on", "true", "yes")
    raise _Problem(f"{value!r} is neither true nor false")


def _texts(value: object) -> tuple[str, ...]:
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, (list, tuple)):
        raise _Problem(f"{value!r} is not a list")
    return tuple(_text(entry) for entry in entries)


def _text_table(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _Problem(f"{value!r} is not a mapping")
    return {str(key): "" if entry is None else _text(entry) for key, entry in value.items()}


def _secrets(value: object) -> dict[str, Secret]:
    if not isinstance(value, Mapping):
        raise _Problem("is not a mapping of names to values")
    secrets: dict[str, Secret] = {}
    for key, entry in value.items():
        if isinstance(entry, (Mapping, list, tuple)):
            raise _Problem(f"the value of '{key}' is not a text")
        secrets[str(key)] = (
            entry if isinstance(entry, Secret) else Secret("" if entry is None else _text(entry))
        )
    return secrets


def _mounts(value: object) -> tuple[MountPlan, ...]:
    if isinstance(value, Mapping):
        value = [f"{source}:{target}" for source, target in value.items()]
    if isinstance(value, MountPlan):
        value = [value]
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, (list, tuple)):
        raise _Problem(f"{value!r} is not a list of 'source:target[:ro|rw]'")
    return tuple(entry if isinstance(entry, MountPlan) else _mount(_text(entry)) for entry in entries)


def _mount(text: str) -> MountPlan:
    parts = text.split(":")
    mode = parts.pop() if len(parts) > 2 and parts[-1] in ("ro", "rw") else "ro"
    if len(parts) != 2 or not parts[0] or not parts[1].startswith("/"):
        raise _Problem(
            f"'{text}' is no mount; write it as source:/target, source:/target:ro or source:/target:rw"
        )
    return MountPlan(source=parts[0], target=parts[1], read_only=mode == "ro")


def _command(value: object) -> tuple[str, ...]:
    words = tuple(shlex.split(value)) if isinstance(value, str) else _texts(value)
    if not words:
        raise _Problem("is empty")
    return words


def _number(value: object) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        number = float(value)
    except ValueError:
        raise _Problem(f"{value!r} is not a number") from None
    if not 0 < number < 1e6:
        raise _Problem(f"{value!r} is not a number above 0")
    return number


# capabilities(7) as of Linux 6.1; "ALL" is Docker's.
CAPABILITIES = frozenset(
    """ALL AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE
    DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD
    NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN
    SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME
    SYS_TTY_CONFIG WAKE_ALARM""".split()
)


def _capabilities(value: object) -> tuple[str, ...]:
    names = tuple(name.upper().removeprefix("CAP_") for name in _texts(value))
    for name in names:
        if name not in CAPABILITIES:
            raise _Problem(
                f"'{name}' is no capability{did_you_mean(name, CAPABILITIES)}; see capabilities(7)"
            )
    return names


def _sysctls(value: object) -> dict[str, str]:
    table = _text_table(value)
    for name in table:
        if not re.fullmatch(r"net\.[\w.*/-]+", name):
            raise _Problem(f"'{name}' cannot be set for one VNF: only net.* belongs to its network namespace")
    return table


def _ready(value: object) -> tuple[ReadyCondition, ...]:
    entries = value if isinstance(value, (list, tuple)) else [value]
    return tuple(entry if callable(entry) else _word(entry) for entry in entries)


def _routes(value: object) -> Routes:
    if isinstance(value, str) and value in _ROUTES:
        return cast(Routes, value)
    if isinstance(value, str) and "/" not in value:
        raise _Problem(
            f"'{value}' is none of {', '.join(_ROUTES)} or a list of networks{did_you_mean(value, _ROUTES)}"
        )
    entries = value if isinstance(value, (list, tuple)) else [value]
    return tuple(ip_network(_text(str(entry) if isinstance(entry, Network) else entry)) for entry in entries)


def _transparent(value: object) -> bool | tuple[str, str]:
    if isinstance(value, (list, tuple)):
        pair = _texts(value)
        if len(pair) != 2 or pair[0] == pair[1]:
            raise _Problem(f"{value!r} is neither true nor a pair of interfaces such as [input, output]")
        return (pair[0], pair[1])
    return _flag(value)


def _mtu(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 68 <= value <= 65535:
        raise _Problem(f"{value!r} is not an MTU (bytes, 68 to 65535)")
    return value


def _interfaces(value: object) -> dict[str, Access]:
    return _impaired(value, "connection points", Access, parse_access)


def _links(value: object) -> dict[str, Impairments]:
    return _impaired(value, "virtual links", Impairments, parse_link)


def _impaired(
    value: object, what: str, kind: type[_Asked], parse: Callable[[Mapping[str, Any]], _Asked]
) -> dict[str, _Asked]:
    if not isinstance(value, Mapping):
        raise _Problem(f"{value!r} is not a mapping of {what} to impairments")
    found = {}
    for name, entry in value.items():
        if not isinstance(entry, (kind, Mapping)):
            raise _Problem(f"{name} is {entry!r}, not a mapping such as {{rate: 10Mbit, delay: 5ms}}")
        try:
            found[str(name)] = entry if isinstance(entry, kind) else parse(cast("Mapping[str, Any]", entry))
        except SettingsError as error:
            raise _Problem(f"{name}: {error}") from None
    return found


def _placement(value: object) -> Placement:
    if isinstance(value, Mapping):
        return _text_table(value)
    if callable(value):
        return cast(Placement, value)
    name = _text(value).replace("_", "-")
    if name not in PLACEMENTS:
        raise _Problem(
            f"'{name}' is no placement{did_you_mean(name, PLACEMENTS)}; there are: {', '.join(PLACEMENTS)},"
            " a map of vnf_id to PoP, or (in Python) a callable"
        )
    return name


def _address_plan(value: object) -> AddressPlanName:
    for name in ADDRESS_PLANS:
        if value == name:
            return name
    raise _Problem(
        f"{value!r} is no address plan{did_you_mean(str(value), ADDRESS_PLANS)};"
        f" there are: {', '.join(ADDRESS_PLANS)}"
    )


def _container_names(value: object) -> ContainerNames:
    for name in CONTAINER_NAMES:
        if value == name:
            return name
    raise _Problem(f"{value!r} is no scheme for containers' names; there are: {', '.join(CONTAINER_NAMES)}")


_BY_NAME: dict[str, Callable[[Any], Any]] = {
    "image": _word,
    "build": lambda value: Path(_word(value)),
    "mounts": _mounts,
    "env": _text_table,
    "secrets": _secrets,
    "command": _command,
    "cpu": _number,
    "memory": units.size_bytes,
    "cap_add": _capabilities,
    "sysctls": _sysctls,
    "ready": _ready,
    "settle": units.seconds,
    "ready_timeout": units.seconds,
    "routes": _routes,
    "transparent": _transparent,
    "offload": _flag,
    "ipv6": _flag,
    "mtu": _mtu,
    "grace": units.seconds,
    "pop": _word,
    "dirty_ignore": _texts,
    "no_new_privileges": _flag,
    "interfaces": _interfaces,
    "links": _links,
    "uplink": _word,
    "images": _text_table,
    "placement": _placement,
    "overprovision": _number,
    "address_plan": _address_plan,
    "container_names": _container_names,
}
VNF_PARSERS = {name: _BY_NAME[name] for name in vnf_option_names()}
SAP_PARSERS = {name: _BY_NAME[name] for name in sap_option_names()}
SERVICE_PARSERS = {name: _BY_NAME[name] for name in service_option_names() if name in _BY_NAME}

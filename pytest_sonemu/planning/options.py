"""From mappings (YAML, marker arguments, command line) to `ServiceOptions`, with all errors at once."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any, cast

from pytest_sonemu import units
from pytest_sonemu.descriptors.model import NetworkService, Place
from pytest_sonemu.errors import SettingsError, did_you_mean
from pytest_sonemu.planning.impairments import Access, parse_access
from pytest_sonemu.planning.option_models import (
    EVERY_VNF,
    AddressPlanName,
    ContainerNames,
    Placement,
    ReadyCondition,
    Routes,
    SapOptions,
    Secret,
    ServiceOptions,
    VnfOptions,
    merge,
    sap_option_names,
    service_option_names,
    vnf_option_names,
)
from pytest_sonemu.planning.plan import MountPlan, Network
from pytest_sonemu.planning.units import option_ids

__all__ = [
    "ADDRESS_PLANS",
    "EVERY_VNF",
    "PLACEMENTS",
    "AddressPlanName",
    "Placement",
    "ReadyCondition",
    "Routes",
    "SapOptions",
    "Secret",
    "ServiceOptions",
    "VnfOptions",
    "merge",
    "parse_service_options",
    "restrict",
    "set_option",
]

KeyPath = tuple[str, ...]
Where = str | Callable[[KeyPath], Place | str]

PLACEMENTS = ("round-robin", "first", "least-delay", "capacity")
CONTAINER_NAMES: tuple[ContainerNames, ...] = ("sonemu", "mn")
ADDRESS_PLANS: tuple[AddressPlanName, ...] = ("vim-emu", "seed", "llcm")
_ROUTES = ("all", "path", "none")


class _Problem(ValueError):
    """A value that cannot be used; `_Reader` knows where it stands."""


class _Reader:
    """Collects problems while values are read, so that a person sees all of them at once."""

    def __init__(self, where: Where) -> None:
        self.where = where
        self.problems: list[str] = []

    def problem(self, path: KeyPath, text: str) -> None:
        where = self.where if isinstance(self.where, str) else self.where(path)
        self.problems.append(f"{where}: {'.'.join(path)}: {text}" if path else f"{where}: {text}")

    def table(self, value: object, path: KeyPath) -> Mapping[str, Any]:
        if value is None:
            return {}
        if isinstance(value, Mapping):
            return {str(key): entry for key, entry in value.items()}
        self.problem(path, f"{value!r} is not a mapping")
        return {}

    def options(
        self,
        value: object,
        path: KeyPath,
        parsers: Mapping[str, Callable[[Any], Any]],
        also: Iterable[str] = (),
    ) -> dict[str, Any]:
        """The keyword arguments of an options class, `given` included; None means: not said."""
        result: dict[str, Any] = {}
        known = [*parsers, *also]
        for key, entry in self.table(value, path).items():
            name = key.replace("-", "_")
            if name in parsers:
                if entry is not None:
                    try:
                        result[name] = parsers[name](entry)
                    except ValueError as problem:
                        self.problem((*path, key), str(problem))
            elif key not in known:
                self.problem(
                    (*path, key), f"unknown option{did_you_mean(name, known)}; there are: {', '.join(known)}"
                )
        result["given"] = frozenset(result)
        return result

    def finish(self) -> None:
        if self.problems:
            raise SettingsError("\n".join(self.problems))


def parse_service_options(
    mapping: Mapping[str, Any], where: Where, *, also: Iterable[str] = ()
) -> ServiceOptions:
    """Options of a service from plain data. Raises SettingsError with every problem, one a line.

    `where` names the source, as a text or as a function from a key's path (`("vnfs", "fw", "image")`)
    to its place. Keys in `also` belong to the caller and are passed over.
    """
    reader = _Reader(where)

    def vnfs(value: object) -> dict[str, VnfOptions]:
        return {
            vnf_id: entry
            if isinstance(entry, VnfOptions)
            else VnfOptions(**reader.options(entry, ("vnfs", vnf_id), _VNF_PARSERS))
            for vnf_id, entry in reader.table(value, ("vnfs",)).items()
        }

    def saps(value: object) -> dict[str, SapOptions]:
        return {
            sap_id: entry
            if isinstance(entry, SapOptions)
            else SapOptions(**reader.options(entry, ("saps", sap_id), _SAP_PARSERS))
            for sap_id, entry in reader.table(value, ("saps",)).items()
        }

    nested: dict[str, Callable[[Any], Any]] = {"vnfs": vnfs, "saps": saps, **_SERVICE_PARSERS}
    parsers = {name: nested[name] for name in service_option_names()}
    options = ServiceOptions(**reader.options(mapping, (), parsers, also))
    reader.finish()
    return options


def set_option(options: ServiceOptions, text: str) -> ServiceOptions:
    """`options` with one setting of the command line over it: `"fw.image=fw:dev"`.

    Before the `=` stands a service's option (`address_plan`, `images.<pattern>`, `placement.<vnf_id>`,
    `saps.<sap>.pop`) or `<vnf_id>.<option>`; `*` is every VNF, `env`, `secrets` and `sysctls` take a
    name (`fw.env.MODE=fast`). Values are YAML scalars or flow lists; where a text is asked for it
    is taken as it stands. Raises SettingsError.
    """
    key, equals, value = text.partition("=")
    where = f"--sonemu-set {key.strip()}"  # without the value, which may be a secret's
    if not equals or not key.strip():
        raise SettingsError(f"{where}: write it as NAME=VALUE, e.g. fw.image=fw:dev")
    path = _key_path(key.strip(), where)
    tree: Any = value if _takes_text(path) else _scalar(value)
    for name in reversed(path):
        tree = {name: tree}
    return merge(options, parse_service_options(tree, where))


def restrict(options: ServiceOptions, service: NetworkService) -> ServiceOptions:
    """`options` without what is for VNFs and SAPs of other services.

    For settings that stand over several services (the command line's); elsewhere an id that does not
    exist is an error of the plan.
    """
    vnf_ids = option_ids(service.functions)
    sap_ids = {sap.id for sap in service.saps}
    return replace(
        options,
        vnfs={vnf_id: own for vnf_id, own in options.vnfs.items() if vnf_id in vnf_ids},
        saps={sap_id: own for sap_id, own in options.saps.items() if sap_id in sap_ids},
    )


def _key_path(key: str, where: str) -> KeyPath:
    head, dot, rest = key.partition(".")
    if not dot:
        return (key,)
    if head in ("images", "placement"):
        return (head, rest)
    if head == "saps":
        sap_id, _, option = rest.rpartition(".")
        if ".interfaces." in rest:  # saps.input.interfaces.input.rate
            sap_id, _, inner = rest.partition(".interfaces.")
            return (head, sap_id, "interfaces", *_interface_path(inner))
        return (head, sap_id, option)
    words = (rest if head == "vnfs" else key).split(".")
    for position in range(1, len(words)):  # a vnf_id may have dots of its own
        if words[position].replace("-", "_") in _VNF_PARSERS:
            inner = ".".join(words[position + 1 :])
            if inner and words[position] == "interfaces":
                return ("vnfs", ".".join(words[:position]), "interfaces", *_interface_path(inner))
            return ("vnfs", ".".join(words[:position]), words[position], *((inner,) if inner else ()))
    raise SettingsError(
        f"{where}: '{words[-1]}' is no option of a VNF{did_you_mean(words[-1], _VNF_PARSERS)};"
        f" there are: {', '.join(_VNF_PARSERS)}"
    )


def _interface_path(text: str) -> KeyPath:
    """`input.rate` and `input.out.rate`: the connection point, perhaps a direction, the impairment."""
    point, _, name = text.rpartition(".")
    head, dot, way = point.rpartition(".")
    return (head, way, name) if dot and way in ("in", "out") else (point, name)


def _takes_text(path: KeyPath) -> bool:
    return path[0] == "images" or (
        path[0] == "vnfs" and path[2] in ("env", "secrets", "sysctls", "image", "build")
    )


def _scalar(text: str) -> object:
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if isinstance(node, yaml.ScalarNode) or text.lstrip().startswith("["):
            return yaml.safe_load(text)
    except yaml.YAMLError:
        pass  # "exec:test -f 'x" is a text although it is no YAML
    return text


# Parsers of single values: each returns the typed value or raises ValueError.


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


def _capabilities(value: object) -> tuple[str, ...]:
    return tuple(name.upper().removeprefix("CAP_") for name in _texts(value))


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
    if not isinstance(value, Mapping):
        raise _Problem(f"{value!r} is not a mapping of connection points to impairments")
    found = {}
    for point, entry in value.items():
        if not isinstance(entry, (Access, Mapping)):
            raise _Problem(f"{point} is {entry!r}, not a mapping such as {{rate: 10Mbit, delay: 5ms}}")
        try:
            found[str(point)] = entry if isinstance(entry, Access) else parse_access(entry)
        except SettingsError as error:
            raise _Problem(f"{point}: {error}") from None
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
    "uplink": _word,
    "images": _text_table,
    "placement": _placement,
    "overprovision": _number,
    "address_plan": _address_plan,
    "container_names": _container_names,
}
_VNF_PARSERS = {name: _BY_NAME[name] for name in vnf_option_names()}
_SAP_PARSERS = {name: _BY_NAME[name] for name in sap_option_names()}
_SERVICE_PARSERS = {name: _BY_NAME[name] for name in service_option_names() if name in _BY_NAME}

"""From mappings (YAML, marker arguments, command line) to `ServiceOptions`, with all errors at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from pytest_sonemu.descriptors.model import NetworkService, Place
from pytest_sonemu.errors import SettingsError, did_you_mean
from pytest_sonemu.planning.option_models import (
    EVERY_VNF,
    AddressPlanName,
    Placement,
    ReadyCondition,
    Routes,
    SapOptions,
    Secret,
    ServiceOptions,
    VnfOptions,
    merge,
    service_option_names,
)
from pytest_sonemu.planning.option_values import SAP_PARSERS, SERVICE_PARSERS, VNF_PARSERS
from pytest_sonemu.planning.units import option_ids

__all__ = [
    "EVERY_VNF",
    "AddressPlanName",
    "Placement",
    "ReadyCondition",
    "Routes",
    "SapOptions",
    "Secret",
    "ServiceOptions",
    "VnfOptions",
    "impairment_path",
    "merge",
    "parse_service_options",
    "restrict",
    "set_option",
]

KeyPath = tuple[str, ...]
Where = str | Callable[[KeyPath], Place | str]


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
            else VnfOptions(**reader.options(entry, ("vnfs", vnf_id), VNF_PARSERS))
            for vnf_id, entry in reader.table(value, ("vnfs",)).items()
        }

    def saps(value: object) -> dict[str, SapOptions]:
        return {
            sap_id: entry
            if isinstance(entry, SapOptions)
            else SapOptions(**reader.options(entry, ("saps", sap_id), SAP_PARSERS))
            for sap_id, entry in reader.table(value, ("saps",)).items()
        }

    nested: dict[str, Callable[[Any], Any]] = {"vnfs": vnfs, "saps": saps, **SERVICE_PARSERS}
    parsers = {name: nested[name] for name in service_option_names()}
    options = ServiceOptions(**reader.options(mapping, (), parsers, also))
    reader.finish()
    return options


def set_option(options: ServiceOptions, *texts: str) -> ServiceOptions:
    """`options` with settings of the command line over them: `"fw.image=fw:dev"`. They are read together.

    Before the `=` stands a service's option (`address_plan`, `images.<pattern>`, `placement.<vnf_id>`,
    `saps.<sap>.pop`, `links.<link>.delay`) or `<vnf_id>.<option>`; `*` is every VNF, `env`, `secrets` and
    `sysctls` take a name (`fw.env.MODE=fast`). Values are YAML scalars, flow lists or flow mappings; where a
    text is asked for it is taken as it stands. A later setting wins. Raises SettingsError.
    """
    tree: dict[str, Any] = {}
    keys: dict[KeyPath, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        where = f"--sonemu-set {key.strip()}"  # without the value, which may be a secret's
        if not equals or not key.strip():
            raise SettingsError(f"{where}: write it as NAME=VALUE, e.g. fw.image=fw:dev")
        path = _key_path(key.strip(), where)
        keys[path] = key.strip()
        _put(tree, path, value if _takes_text(path) else _scalar(value))

    def origin(path: KeyPath) -> str:
        near = [key for said, key in keys.items() if said[: len(path)] == path or path[: len(said)] == said]
        return f"--sonemu-set {', '.join(near or keys.values())}"

    return merge(options, parse_service_options(tree, origin))


def restrict(options: ServiceOptions, service: NetworkService) -> ServiceOptions:
    """`options` without what is for VNFs, SAPs and links of other services.

    For settings that stand over several services (the command line's); elsewhere an id that does not
    exist is an error of the plan.
    """
    vnf_ids = option_ids(service.functions)
    sap_ids = {sap.id for sap in service.saps}
    link_ids = {link.id for link in service.links} | {
        f"{function.id}.{link.id}" for function in service.functions for link in function.internal_links
    }
    return replace(
        options,
        vnfs={vnf_id: own for vnf_id, own in options.vnfs.items() if vnf_id in vnf_ids},
        saps={sap_id: own for sap_id, own in options.saps.items() if sap_id in sap_ids},
        links={link_id: own for link_id, own in options.links.items() if link_id in link_ids},
    )


def _key_path(key: str, where: str) -> KeyPath:
    head, dot, rest = key.partition(".")
    if not dot:
        return (key,)
    if head in ("images", "placement"):
        return (head, rest)
    if head == "links":  # links.far.delay, links.far.input->server.delay
        return (head, *impairment_path(rest))
    if head == "saps":
        sap_id, _, option = rest.rpartition(".")
        if ".interfaces." in rest:  # saps.input.interfaces.input.rate
            sap_id, _, inner = rest.partition(".interfaces.")
            return (head, sap_id, "interfaces", *impairment_path(inner))
        return (head, sap_id, option)
    words = (rest if head == "vnfs" else key).split(".")
    for position in range(1, len(words)):  # a vnf_id may have dots of its own
        if words[position].replace("-", "_") in VNF_PARSERS:
            inner = ".".join(words[position + 1 :])
            if inner and words[position] == "interfaces":
                return ("vnfs", ".".join(words[:position]), "interfaces", *impairment_path(inner))
            return ("vnfs", ".".join(words[:position]), words[position], *((inner,) if inner else ()))
    raise SettingsError(
        f"{where}: '{words[-1]}' is no option of a VNF{did_you_mean(words[-1], VNF_PARSERS)};"
        f" there are: {', '.join(VNF_PARSERS)}"
    )


def impairment_path(text: str) -> KeyPath:
    """`input.rate`, `input.out.rate`, `far.fw->web.rate`: what is impaired, perhaps a direction, what.

    A name alone (`far`) is all that is said of it, as a mapping.
    """
    point, dot, name = text.rpartition(".")
    if not dot:
        return (text,)
    head, dot, way = point.rpartition(".")
    return (head, way, name) if dot and (way in ("in", "out") or "->" in way) else (point, name)


def _put(tree: dict[str, Any], path: KeyPath, value: object) -> None:
    for name in path[:-1]:
        if not isinstance(tree.get(name), dict):
            tree[name] = {}
        tree = tree[name]
    if path[0] == "vnfs" and len(path) == 3 and path[2] in ("image", "build"):
        # They exclude each other: the one named last is meant.
        tree.pop("build" if path[2] == "image" else "image", None)
    tree[path[-1]] = value


def _takes_text(path: KeyPath) -> bool:
    return path[0] == "images" or (
        path[0] == "vnfs" and path[2] in ("env", "secrets", "sysctls", "image", "build")
    )


def _scalar(text: str) -> object:
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if isinstance(node, yaml.ScalarNode) or text.lstrip().startswith(("[", "{")):
            return yaml.safe_load(text)
    except yaml.YAMLError:
        pass  # "exec:test -f 'x" is a text although it is no YAML
    return text

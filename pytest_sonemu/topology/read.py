"""`read_topology`: the topology file.

    name: two-pops                       # optional, else the file's name
    pops:
      pop1: {cpu: 2, memory: 4G}         # a capacity is optional: `pop1:` alone will do,
      pop2:                              # and so will a list of names
    links:
      - [pop1, pop2]
      - {between: [pop2, pop3], delay: 10ms, rate: 100Mbit, loss: 1%, mtu: 9000}
        # and all else that `impair` takes; for one direction: "pop3->pop2": {rate: 10Mbit}
    hosts:
      h1: pop1
    saps:
      input: {pop: pop1, image: "web:dev", uplink: nat}
    access:
      "fw:input": {rate: 10Mbit, in: {rate: 100Mbit, delay: 5ms}}   # the cable of one interface
    images:
      "sonatanfv/*": sonemu/vnf-base     # stand-ins, by image name or pattern
    fabric: auto                         # or openvswitch

All faults of a file are reported at once, each with its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.located import Node, load
from pytest_sonemu.descriptors.model import Place
from pytest_sonemu.descriptors.section import Section
from pytest_sonemu.errors import SettingsError, TopologyError, did_you_mean
from pytest_sonemu.relay.model import impairment_from_json
from pytest_sonemu.topology.impairments import (
    Access,
    direction_of,
    impairment_names,
    not_a_direction,
    parse_access,
    parse_one,
    said_twice,
)
from pytest_sonemu.topology.model import AccessLink, Fabric, Host, PoP, PopLink, SapSite, Topology
from pytest_sonemu.topology.schema import (
    ACCESS_FIELDS,
    ACCESS_PATTERN,
    HOST_FIELDS,
    IMPAIRMENT_FIELDS,
    LINK_FIELDS,
    MTU,
    NAME_PATTERN,
    POP_FIELDS,
    ROOT_FIELDS,
    SAP_FIELDS,
)
from pytest_sonemu.units import size_bytes

_NAME = re.compile(NAME_PATTERN, re.ASCII)
_FABRICS: dict[str, Fabric] = {"auto": "auto", "openvswitch": "openvswitch"}


def read_topology(path: str | Path) -> Topology:
    """The topology in the YAML file at `path`. Raises TopologyError with all findings."""
    path = Path(path)
    findings = Findings()
    if path.suffix == ".py":
        raise TopologyError(f"{path}: topology scripts in Python are not run yet; write the topology as YAML")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TopologyError(f"{path}: the topology cannot be read: {error.strerror}") from None
    topology = topology_of(data, str(path), findings, name=path.stem)
    if topology is None or findings.failed:
        count = len(findings.errors)
        raise TopologyError(
            f"{path} cannot be used as a topology: {count} error{'s' if count != 1 else ''}", findings
        )
    return topology


def topology_of(data: bytes, file: str, findings: Findings, *, name: str = "topology") -> Topology | None:
    """The topology in `data`; None, or one with parts left out, if `findings` has errors."""
    node = load(data, file, findings, rule="topology_yaml")
    if node is None:
        return None
    root = Section.of(node, findings, "topology_shape", "the topology")
    if root is None:
        return None
    root.only(ROOT_FIELDS, level="error")
    reader = _Reader(root, findings)
    pops = reader.pops()
    fabric = root.text("fabric", level="error") or "auto"
    if fabric not in _FABRICS:
        hint = did_you_mean(fabric, _FABRICS).strip(" ()") or f"one of {', '.join(_FABRICS)}"
        findings.error("topology_value", f"fabric '{fabric}' is not known", root.place_of("fabric"), hint)
    return Topology(
        pops=tuple(pops),
        links=tuple(reader.links()),
        hosts=tuple(reader.hosts()),
        saps=tuple(reader.saps()),
        images=reader.images(),
        fabric=_FABRICS.get(fabric, "auto"),
        name=root.text("name", level="error") or name,
        origin=file,
        access=tuple(reader.access()),
    )


def as_json(topology: Topology) -> str:
    """The topology as one line of JSON; `from_json` makes an equal one of it."""
    return json.dumps(asdict(topology), separators=(",", ":"))


def from_json(text: str) -> Topology:
    """The topology that `as_json` wrote. Raises TopologyError for anything else."""
    try:
        data: dict[str, Any] = json.loads(text)
        return Topology(
            pops=tuple(PoP(**pop) for pop in data.pop("pops")),
            links=tuple(PopLink(**link) for link in data.pop("links")),
            hosts=tuple(Host(**host) for host in data.pop("hosts")),
            saps=tuple(SapSite(**sap) for sap in data.pop("saps")),
            access=tuple(_access_from_json(**link) for link in data.pop("access", ())),
            **data,
        )
    except (ValueError, TypeError, KeyError, AttributeError, SettingsError) as error:
        raise TopologyError(f"not the JSON of a topology: {error}") from None


def _access_from_json(cable: dict[str, Any], **names: str) -> AccessLink:
    return AccessLink(
        cable=Access(impairment_from_json(cable["sent"]), impairment_from_json(cable["given"])), **names
    )


class _Reader:
    def __init__(self, root: Section, findings: Findings) -> None:
        self._root, self._findings = root, findings
        self._pops: dict[str, PoP] = {}
        self._names: dict[str, Place] = {}

    def pops(self) -> list[PoP]:
        for name, node, place in self._entries("pops", "a PoP"):
            if name in self._pops:
                self._findings.error("topology_duplicate", f"PoP '{name}' is named twice", place)
                continue
            self._pops[name] = PoP(name)
            section = self._section(node, f"PoP '{name}'", POP_FIELDS)
            if section is not None:
                cpu = section.number("cpu", level="error")
                self._pops[name] = PoP(name, cpu, section.quantity("memory", size_bytes))
        if not self._pops and not self._findings.failed:
            hint = "write 'pops: [pop1]'"
            self._findings.error(
                "topology_shape", "the topology has no PoPs", self._root.place_of("pops"), hint
            )
        return list(self._pops.values())

    def links(self) -> Iterator[PopLink]:
        seen: dict[frozenset[str], Place] = {}
        for ends, options, place in self._link_entries():
            names = [self._pop(end) for end in ends]
            a, b = names[0], names[-1]
            values = self._link_values(options, (a, b)) if options is not None else {}
            if a is None or b is None:
                continue
            first = seen.setdefault(frozenset(names_of := (a, b)), place)
            if a == b:
                self._findings.error("topology_link", f"a link from PoP '{a}' to itself", place)
            elif first is not place:
                message = f"PoPs '{names_of[0]}' and '{names_of[1]}' are linked twice"
                self._findings.error("topology_duplicate", message, place, f"first in line {first.line}")
            else:
                try:
                    yield PopLink(a, b, **values)
                except TopologyError as error:
                    self._findings.error("topology_value", str(error), place)

    def hosts(self) -> Iterator[Host]:
        for name, node, place in self._entries("hosts", "a host"):
            if not self._take(name, "host", place):
                continue
            if node is None or node.value is None:
                self._findings.error(
                    "topology_shape", f"host '{name}' has no PoP", place, f"write '{name}: pop1'"
                )
                continue
            pop = self._site(node, f"host '{name}'", HOST_FIELDS)[0]
            if pop is not None:
                yield Host(name, pop)

    def saps(self) -> Iterator[SapSite]:
        for name, node, place in self._entries("saps", "a SAP"):
            if not self._take(name, "SAP", place):
                continue
            if node is None or node.value is None:
                yield SapSite(name)
                continue
            pop, section = self._site(node, f"SAP '{name}'", SAP_FIELDS)
            if section is None:
                yield SapSite(name, pop)
            else:
                yield SapSite(
                    name, pop, section.text("image", level="error"), section.text("uplink", level="error")
                )

    def access(self) -> Iterator[AccessLink]:
        section = self._root.section("access", "'access'", level="error")
        for name, node in section.node.value.items() if section is not None else ():
            what = f"access link '{name}'"
            if not re.match(ACCESS_PATTERN, name):
                hint = "write endpoint and connection point: 'fw:input'"
                self._findings.error("topology_value", f"{what} names no interface", node.place, hint)
            cable = self._section(node, what, ACCESS_FIELDS)
            if cable is None:
                continue
            asked = self._impairments(cable)
            for key in ("out", "in"):
                way = self._section(cable.node_of(key), f"'{key}' of {what}", IMPAIRMENT_FIELDS)
                asked[key] = self._impairments(way) if way is not None else {}
            endpoint, _, interface = name.partition(":")
            try:
                yield AccessLink(endpoint, interface, parse_access(asked))
            except SettingsError as error:
                self._findings.error("topology_value", f"{what}: {error}", node.place)

    def images(self) -> dict[str, str]:
        section = self._root.section("images", "'images'", level="error")
        if section is None:
            return {}
        images: dict[str, str] = {}
        for pattern in section.node.value:
            image = section.text(pattern, required="error")
            if image is not None:
                images[pattern] = image
        return images

    def _entries(self, key: str, what: str) -> Iterator[tuple[str, Node | None, Place]]:
        """(name, options, place) of each entry of a mapping, or of a list of names or mappings."""
        node = self._root.node_of(key)
        if node is None:
            return
        if isinstance(node.value, dict):
            for name, value in node.value.items():
                if self._named(name, what, node.key_place(name)):
                    yield name, value, node.key_place(name)
        elif isinstance(node.value, list):
            for item in node.value:
                if isinstance(item.value, dict):
                    section = Section(item, self._findings, "topology_shape", what)
                    name = section.text("name", required="error")
                    if name is not None and self._named(name, what, section.place_of("name")):
                        yield name, item, section.place_of("name")
                elif isinstance(item.value, list) or item.value is None:
                    self._findings.error("topology_shape", f"{what} is {item.kind}, not a name", item.place)
                elif self._named(item.text, what, item.place):
                    yield item.text, None, item.place
        else:
            message = f"'{key}' is {node.kind}, not a mapping or a list"
            self._findings.error("topology_shape", message, node.place)

    def _link_entries(self) -> Iterator[tuple[list[Node], Node | None, Place]]:
        """(ends, options, place) of each link."""
        for item in self._root.items("links"):
            section = Section(item, self._findings, "topology_link", "a PoP link")
            if isinstance(item.value, list):
                ends, options = item.value, None
            elif isinstance(item.value, dict):
                if "between" not in section:
                    section.missing("between", "error")
                    section.only(LINK_FIELDS, level="error")
                    continue
                ends, options = section.items("between"), item
            else:
                message = f"a PoP link is {item.kind}"
                self._findings.error(
                    "topology_link", message, item.place, "write [pop1, pop2] or {between: [pop1, pop2]}"
                )
                continue
            if len(ends) == 2:
                yield ends, options, item.place
            elif "between" not in section or section.node_of("between") is None or ends:
                self._findings.error("topology_link", f"a PoP link has {len(ends)} ends, not two", item.place)

    def _link_values(self, options: Node, ends: tuple[str | None, str | None]) -> dict[str, Any]:
        ways = [key for key in options.value if "->" in key]
        section = self._section(options, "a PoP link", (*LINK_FIELDS, *ways))
        if section is None:
            return {}
        mtu = section.number("mtu", level="error")
        if mtu is not None and (mtu != int(mtu) or not MTU[0] <= mtu <= MTU[1]):
            message = f"'mtu' is {mtu:g}, not a whole number from {MTU[0]} to {MTU[1]}"
            self._findings.error("topology_value", message, section.place_of("mtu"))
            mtu = None
        values = {**self._impairments(section), "mtu": int(mtu) if mtu is not None else None}
        a, b = ends
        for key in ways if a is not None and b is not None and a != b else ():
            direction = direction_of(key, (str(a), str(b)))
            name = "forward" if direction == "a->b" else "backward"
            if direction is None or name in values:
                message = said_twice(key) if direction else not_a_direction(key, (str(a), str(b)))
                self._findings.error("topology_value", message, options.key_place(key))
                continue
            way = self._section(section.node_of(key), f"'{key}' of a PoP link", IMPAIRMENT_FIELDS)
            values[name] = self._impairments(way) if way is not None else {}
        return values

    def _impairments(self, section: Section) -> dict[str, Any]:
        """What a link is said to do to frames; a value that cannot be is a finding and left out."""
        values: dict[str, Any] = {}
        for name in impairment_names():
            node = section.node_of(name)
            if node is None:
                continue
            try:
                values[name] = parse_one(name, node.plain())
            except (ValueError, OverflowError, SettingsError) as error:
                self._findings.error("topology_value", f"'{name}': {error}", node.place)
        return values

    def _site(self, node: Node, what: str, known: Collection[str]) -> tuple[str | None, Section | None]:
        """(PoP, options) of a host or SAP, written as a mapping or as the PoP's name alone."""
        if not isinstance(node.value, dict):
            return self._pop(node), None
        section = self._section(node, what, known)
        pop = section.node_of("pop") if section is not None else None
        if pop is None and section is not None and "image" not in known:
            section.missing("pop", "error")
        return (self._pop(pop) if pop is not None else None), section

    def _section(self, node: Node | None, what: str, known: Collection[str]) -> Section | None:
        if node is None or node.value is None:
            return None
        section = Section.of(node, self._findings, "topology_value", what)
        if section is not None:
            section.only(known, level="error")
        return section

    def _pop(self, node: Node) -> str | None:
        if isinstance(node.value, (dict, list)) or node.value is None:
            self._findings.error("topology_shape", f"the name of a PoP is {node.kind}", node.place)
            return None
        if node.text not in self._pops:
            hint = (
                did_you_mean(node.text, self._pops).strip(" ()")
                or f"there are: {', '.join(self._pops) or 'none'}"
            )
            self._findings.error("topology_link", f"no PoP '{node.text}'", node.place, hint)
            return None
        return node.text

    def _named(self, name: str, what: str, place: Place) -> bool:
        if _NAME.fullmatch(name):
            return True
        hint = "letters, digits, '_', '.', '-', at most 63"
        self._findings.error("topology_value", f"{name!r} cannot be the name of {what}", place, hint)
        return False

    def _take(self, name: str, what: str, place: Place) -> bool:
        """Hosts and SAPs share one space of names: a test writes either by its name alone."""
        if name in self._names:
            hint = f"first in line {self._names[name].line}"
            self._findings.error("topology_duplicate", f"the name of {what} '{name}' is taken", place, hint)
            return False
        self._names[name] = place
        return True

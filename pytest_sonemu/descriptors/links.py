"""Virtual links, as NSDs and VNFDs alike write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.located import Node
from pytest_sonemu.descriptors.model import Connectivity, Place, Reference, VirtualLink
from pytest_sonemu.descriptors.rule_types import Level
from pytest_sonemu.descriptors.section import Section

_CONNECTIVITY: dict[str, Connectivity] = {"eline": "E-Line", "elan": "E-LAN", "etree": "E-Tree"}
_INVALID = "evt_invalid_vlink"

# Finds what a reference means: (text, place) -> the reference, or None after a finding.
Resolve = Callable[[str, Place], "Reference | None"]


@dataclass(frozen=True, slots=True)
class LinksRead:
    """What a list of links holds. `written` are all references in it, also of links that were left out.

    `whole`: every link could be read and every reference be found; else `doubtful` are the references
    in links that could not, None if that is not known.
    """

    links: list[VirtualLink] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    written: set[Reference] = field(default_factory=set)
    whole: bool = True
    doubtful: frozenset[Reference] | None = frozenset()

    def sure_of(self, *references: Reference) -> bool:
        """Whether all links of these points are among `links`."""
        return self.doubtful is not None and self.doubtful.isdisjoint(references)


class LinkReader:
    """Reads the links of one descriptor. `shape` names faults of the list, `level` is that of faults."""

    def __init__(
        self, findings: Findings, what: str, shape: str, resolve: Resolve, level: Level = "error"
    ) -> None:
        self._findings, self._what, self._shape = findings, what, shape
        self._resolve, self._level = resolve, level

    def read(self, owner: Section) -> LinksRead:
        """The links; one with a fault is left out after its findings."""
        links: dict[str, VirtualLink] = {}
        ids: dict[str, Place] = {}
        written: set[Reference] = set()
        node = owner.node_of("virtual_links")
        sections = owner.sections(
            "virtual_links", f"a virtual link of {self._what}", level=self._level, shape=self._shape
        )
        listed = node is None or (isinstance(node.value, list) and len(node.value) == len(sections))
        whole = listed
        doubtful: set[Reference] = set()
        for section in sections:
            link_id = self._id(section)
            if link_id is not None and link_id in ids:
                message = f"virtual link '{link_id}' is declared twice"
                hint = f"first in line {ids[link_id].line}"
                self._findings.say(self._level, "evt_duplicate_vlink", message, section.place_of("id"), hint)
            ends: set[Reference] = set()
            link = self._link(section, link_id or "?", ends)
            written |= ends
            if link_id is None or link is None:
                whole = False
                doubtful |= ends
            elif link_id not in ids:
                links[link_id] = link
            if link_id is not None:
                ids.setdefault(link_id, section.place_of("id"))
        left = frozenset(doubtful) if listed else None
        return LinksRead(list(links.values()), set(ids), written, whole, left)

    def _id(self, section: Section) -> str | None:
        link_id = section.text("id")
        if link_id is not None:
            return link_id
        if "vl_name" in section:
            message = "a virtual link by reference (vl_name) cannot be deployed"
            hint = "describe the link here: id, connectivity_type, connection_points_reference"
            self._findings.say(self._level, self._shape, message, section.place_of("vl_name"), hint)
        else:
            section.missing("id", self._level, shape=self._shape)
        return None

    def _link(self, section: Section, link_id: str, ends: set[Reference]) -> VirtualLink | None:
        if "vl_name" in section and "id" not in section:
            return None
        kind = self._connectivity(section, link_id)
        found = self._ends(section, link_id, kind)
        references = tuple(dict.fromkeys(reference for reference in found if reference is not None))
        ends.update(references)
        listed = section.node_of("connection_points_reference")
        if listed is None:
            section.missing("connection_points_reference", self._level, shape=self._shape)
        if listed is None or not isinstance(listed.value, list):
            return None
        nodes, place = len(found), listed.place
        if kind == "E-Line" and nodes != 2:
            hint = "make it an E-LAN" if nodes > 2 else "name the point at its other end"
            message = f"E-Line '{link_id}' has {nodes} ends, not two"
            self._findings.say(self._level, _INVALID, message, place, hint)
            return None
        if kind == "E-Line" and None not in found and len(references) == 1:
            message = f"both ends of E-Line '{link_id}' are '{references[0]}'"
            self._findings.say(self._level, _INVALID, message, place)
            return None
        if kind is not None and nodes == 0:
            message = f"{kind} '{link_id}' joins nothing"
            if isinstance(section.node_of("connection_points_reference"), Node):
                self._findings.say(self._level, _INVALID, message, place)
            return None
        if kind is None or None in found:
            return None
        root = _root(section, references) if kind == "E-Tree" else None
        return VirtualLink(link_id, kind, references, root=root, place=section.place)

    def _ends(self, section: Section, link_id: str, kind: str | None) -> list[Reference | None]:
        """What each item of the link refers to; None for one that cannot be found."""
        found: list[Reference | None] = []
        seen: set[Reference] = set()
        key = "connection_points_reference"
        for node in section.items(key, level=self._level, shape=self._shape):
            text = self._reference_text(node)
            reference = self._resolve(text, node.place) if text is not None else None
            found.append(reference)
            if reference is not None and reference in seen and kind != "E-Line":
                message = f"'{text}' is named twice in {kind or 'link'} '{link_id}'"
                self._findings.warning(_INVALID, message, node.place, "remove one of them")
            if reference is not None:
                seen.add(reference)
        return found

    def _reference_text(self, node: Node) -> str | None:
        """The text of a reference without stray white space, or None after a finding."""
        rule = "evt_invalid_cpoint_ref"
        if node.value is None or isinstance(node.value, (dict, list)):
            message = f"a reference to a connection point is {node.kind}"
            self._findings.say(self._level, rule, message, node.place, "write vnf_id:point or sap")
            return None
        text = node.text.strip()
        if text != node.text:
            self._findings.warning(rule, f"white space around the reference {node.text!r}", node.place)
        return text

    def _connectivity(self, section: Section, link_id: str) -> Connectivity | None:
        written = section.text("connectivity_type", required=self._level, shape=self._shape)
        if written is None:
            return None
        kind = _CONNECTIVITY.get(written.lower().replace("-", "").replace("_", ""))
        place = section.place_of("connectivity_type")
        if kind is None:
            near = self._findings.near(written, _CONNECTIVITY.values())
            message = f"connectivity_type '{written}' of link '{link_id}' is none of E-Line, E-LAN, E-Tree"
            self._findings.say(self._level, _INVALID, message, place, near)
        elif kind != written:
            message = f"connectivity_type '{written}' is read as {kind}"
            self._findings.warning(_INVALID, message, place, f"write {kind}")
        return kind


def _root(section: Section, references: tuple[Reference, ...]) -> Reference:
    """The root of an E-Tree: the reference that `root_requirement` names, else the first."""
    node = section.node_of("root_requirement")
    named = node.text.strip() if node is not None else None
    for reference in references:
        if named is not None and named in (str(reference), reference.point):
            return reference
    return references[0]

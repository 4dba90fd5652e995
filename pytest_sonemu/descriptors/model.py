"""What is asked for: a network service, in one model for all vocabularies and for Python.

A package, a project folder and a service written in Python end here alike. Everything is frozen;
nothing here knows where or how it will run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from ipaddress import IPv4Interface, IPv6Interface
from itertools import pairwise
from pathlib import Path
from typing import Literal

PointType = Literal["internal", "external", "management"]
Connectivity = Literal["E-Line", "E-LAN", "E-Tree"]
Protocol = Literal["tcp", "udp"]

# The first vocabulary has no type for points of management: there the name tells.
MANAGEMENT_NAMES = frozenset({"mgmt", "management"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written: `file` as a person would name it, `line` and `column` from 1."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class ConnectionPoint:
    """A point of a VNF, a unit or a service to which a virtual link can be attached."""

    id: str
    type: PointType = "external"
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    mac: str | None = None
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Resources:
    """Limits: `cpu` in cores (0.5 is half a core), `cpu_ids` the cores allowed, `memory` in bytes."""

    cpu: float | None = None
    cpu_ids: tuple[int, ...] = ()
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port of a unit that is reached from outside the bed: as `outer` there, None: as any free port."""

    port: int
    outer: int | None = None
    protocol: Protocol = "tcp"
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Unit:
    """One container of a VNF (a VDU, or 5GTANGO's CDU).

    `build` is a folder with a Dockerfile, on disk; `context` holds the same as member names of the
    package (a Dockerfile inside the archive). `image_format` is as written; only docker runs here.
    """

    id: str
    image: str | None = None
    image_format: str = "docker"
    build: Path | None = None
    context: str | None = None
    resources: Resources = Resources()
    connection_points: tuple[ConnectionPoint, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] | None = None
    publish: tuple[PublishedPort, ...] = ()
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Reference:
    """One end of a virtual link: a VNF's (or unit's) connection point, or, with `function` None, a SAP."""

    function: str | None
    point: str
    place: Place | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return self.point if self.function is None else f"{self.function}:{self.point}"

    @classmethod
    def parse(cls, text: str) -> Reference:
        """`"fw:input"` or `"input"`."""
        function, colon, point = text.partition(":")
        return cls(function, point) if colon else cls(None, text)


@dataclass(frozen=True, slots=True)
class VirtualLink:
    """A virtual link. `root` is set for an E-Tree only: the one end that reaches all others.

    `management`: one of its SAPs or connection points is of type management. Such a link carries no
    data path, so routes never lead over it.
    """

    id: str
    connectivity: Connectivity
    references: tuple[Reference, ...]
    root: Reference | None = None
    mtu: int | None = None
    management: bool = False
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ForwardingPath:
    """One path of a forwarding graph: connection points in the order in which packets pass them."""

    id: str
    references: tuple[Reference, ...]
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Sap:
    """A service access point: where users of the service are attached."""

    id: str
    type: PointType = "external"
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class NetworkFunction:
    """A VNF of a service.

    In Python: `NetworkFunction("fw", build=".")`, `NetworkFunction("web", image="web:dev",
    interfaces=["data"])`. A VNF of one container needs no `units`; `image`, `build`, `environment`
    and `command` then describe that container. `interfaces=()` is a VNF without any.
    """

    id: str
    _: KW_ONLY
    image: str | None = None
    build: str | Path | None = None
    interfaces: Sequence[str] = ("input", "output")
    environment: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] | None = None
    resources: Resources = Resources()
    connection_points: tuple[ConnectionPoint, ...] = ()
    units: tuple[Unit, ...] = ()
    internal_links: tuple[VirtualLink, ...] = ()
    vendor: str = ""
    name: str = ""
    version: str = ""
    place: Place | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        def put(attribute: str, value: object) -> None:
            object.__setattr__(self, attribute, value)

        if not self.connection_points:
            put("connection_points", tuple(ConnectionPoint(name) for name in self.interfaces))
        put("interfaces", tuple(point.id for point in self.connection_points))
        if not self.name:
            put("name", self.id)
        if not self.units:
            put("units", (self._single_unit(),))

    def _single_unit(self) -> Unit:
        return Unit(
            id="vdu01",
            image=self.image,
            build=Path(self.build).resolve() if self.build is not None else None,
            resources=self.resources,
            connection_points=self.connection_points,
            environment=dict(self.environment),
            command=tuple(self.command) if self.command is not None else None,
            place=self.place,
        )


@dataclass(frozen=True, slots=True)
class NetworkService:
    """A network service: VNFs, SAPs, the virtual links between them and the paths packets take."""

    name: str
    functions: tuple[NetworkFunction, ...] = ()
    saps: tuple[Sap, ...] = ()
    links: tuple[VirtualLink, ...] = ()
    paths: tuple[ForwardingPath, ...] = ()
    vendor: str = ""
    version: str = ""
    origin: str | None = None
    not_emulated: tuple[str, ...] = ()

    @classmethod
    def chain(cls, *members: str | NetworkFunction, name: str = "chain") -> NetworkService:
        """A chain by E-Lines: `chain("input", NetworkFunction("fw", build="."), "output")`.

        A string is a SAP. Each VNF is entered at its first data interface and left at its last; a VNF
        at the end of the chain may have one only. Interfaces of management stay out of it: those of
        that type, and those called `mgmt`. Raises ValueError for a chain of fewer than two, and for a
        VNF without a data interface.
        """
        if len(members) < 2:
            raise ValueError(
                "a chain has at least two members, e.g. chain('input', NetworkFunction('fw', ...))"
            )
        links: list[VirtualLink] = []
        stations: list[Reference] = []
        for position, (left, right) in enumerate(pairwise(members), start=1):
            ends = (_end(left, leaving=True), _end(right, leaving=False))
            links.append(VirtualLink(f"link-{position}", "E-Line", ends))
            stations += ends
        return cls(
            name=name,
            functions=tuple(member for member in members if isinstance(member, NetworkFunction)),
            saps=tuple(Sap(member) for member in members if isinstance(member, str)),
            links=tuple(links),
            paths=(ForwardingPath("chain", tuple(stations)),),
        )

    @classmethod
    def of(
        cls,
        name: str,
        functions: Iterable[NetworkFunction],
        links: Mapping[str, Sequence[str]],
        *,
        lans: Mapping[str, Sequence[str]] | None = None,
    ) -> NetworkService:
        """A service from short notation: `links` are E-Lines, `lans` E-LANs, each id -> references.

        A reference without a colon is a SAP: `of("s", [fw], {"in": ["input", "fw:input"]})`.
        """
        tables: tuple[tuple[Connectivity, Mapping[str, Sequence[str]]], ...] = (
            ("E-Line", links),
            ("E-LAN", lans or {}),
        )
        virtual_links = [
            VirtualLink(link_id, kind, tuple(Reference.parse(text) for text in references))
            for kind, table in tables
            for link_id, references in table.items()
        ]
        saps = dict.fromkeys(
            ref.point for link in virtual_links for ref in link.references if ref.function is None
        )
        return cls(name, tuple(functions), tuple(Sap(sap) for sap in saps), tuple(virtual_links))


def _end(member: str | NetworkFunction, *, leaving: bool) -> Reference:
    if isinstance(member, str):
        return Reference(None, member)
    data = [
        point.id
        for point in member.connection_points
        if point.type != "management" and point.id.lower() not in MANAGEMENT_NAMES
    ]
    if not data:
        there = ", ".join(member.interfaces) or "none"
        raise ValueError(
            f"VNF '{member.id}' has no interface for data to pass in a chain (there are: {there})"
        )
    return Reference(member.id, data[-1 if leaving else 0])

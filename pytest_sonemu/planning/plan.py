"""The deployment plan: everything that will be done for one instance, said before any of it is done.

Plain frozen data that travels as JSON (`emulation/codec.py`). The keeper carries it out and undoes
it from the same data; handles look addresses and ways up in it; nothing is asked back from the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Literal

from pytest_sonemu.relay.model import Impairment
from pytest_sonemu.topology.impairments import Access

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

EndpointKind = Literal["vnf", "sap", "host"]
Realisation = Literal["direct", "relayed", "switched"]
LinkKind = Literal["E-Line", "E-LAN", "E-Tree"]


@dataclass(frozen=True, slots=True)
class ImageChoice:
    """Which image one unit runs, and why (ruling 18). `entrypoint` and `command` are the image's own."""

    reference: str
    id: str
    reason: str
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    healthcheck: tuple[str, ...] = ()
    healthcheck_timeout: float = 30.0
    stop_signal: str = "SIGTERM"
    stand_in: bool = False


@dataclass(frozen=True, slots=True)
class InterfacePlan:
    """One interface of an endpoint.

    `name` is what the endpoint sees (its connection point's id wherever the kernel takes it),
    `outer` the other end of the veth pair, in the fabric. `link` is the virtual link it is in, or None;
    one in several links has the others in `also_in`, and a `Split` in the plan. Without `offload`
    segments are cut and checksums filled in at both its ends. `access` is what its cable does to frames.
    """

    name: str
    connection_point: str
    outer: str
    mac: str
    addresses: tuple[Interface, ...] = ()
    link: str | None = None
    mtu: int = 1500
    altname: str | None = None
    also_in: tuple[str, ...] = ()
    offload: bool = True
    access: Access | None = None

    @property
    def links(self) -> tuple[str, ...]:
        """All the virtual links it is in, the one of its primary address first."""
        return (self.link, *self.also_in) if self.link is not None else ()


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """A static route: `destination` via `gateway` out of `interface`."""

    destination: Network
    gateway: Address
    interface: str
    metric: int = 4096


@dataclass(frozen=True, slots=True)
class BarrierPlan:
    """Packets that came in at `interface` are not passed on: to `destination`, or (None) anywhere in IPv4."""

    interface: str
    destination: Network | None = None


@dataclass(frozen=True, slots=True)
class MountPlan:
    """A folder or file of the machine seen inside a container."""

    source: str
    target: str
    read_only: bool = True


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """The container of a VNF's unit. `cpu` in cores, `memory` in bytes.

    `argv` is what the hold lets go (None: the container only waits, for an entry script);
    `entry_script` runs after wiring through the image's shell, `stop_script` before the end.
    `secrets` names those of `environment` whose values nobody may see.
    """

    name: str
    image: ImageChoice
    argv: tuple[str, ...] | None
    hostname: str
    environment: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    mounts: tuple[MountPlan, ...] = ()
    cpu: float | None = None
    cpu_ids: tuple[int, ...] = ()
    memory: int | None = None
    cap_add: tuple[str, ...] = ()
    entry_script: str | None = None
    stop_script: str | None = None
    grace: float = 0.2
    no_new_privileges: bool = False

    def __repr__(self) -> str:
        shown = [(item.name, getattr(self, item.name)) for item in fields(self) if item.name != "environment"]
        visible = tuple((name, "***" if name in self.secrets else value) for name, value in self.environment)
        texts = [f"{name}={value!r}" for name, value in (*shown, ("environment", visible))]
        return f"ContainerPlan({', '.join(texts)})"

    def hide(self, text: str) -> str:
        """A text for people, e.g. the last lines of its log, without the values of its secrets."""
        values = [value for name, value in self.environment if name in self.secrets]
        # Shorter ones would blot out ordinary words.
        for value in sorted((each for each in values if len(each) >= 4), key=len, reverse=True):
            text = text.replace(value, "***")
        return text


@dataclass(frozen=True, slots=True)
class PublishPlan:
    """A port that is reached from outside the bed: as `outer` if that is free there, else as any free one."""

    port: int
    outer: int | None = None
    protocol: Literal["tcp", "udp"] = "tcp"


@dataclass(frozen=True, slots=True)
class UplinkPlan:
    """A SAP's way out of the bed. "nat": `interface` is a tap with `address`, behind it `gateway`, whose
    connections are the machine's own. "interface": one of the machine's, moved here with all it has."""

    kind: Literal["nat", "interface"]
    interface: str
    address: IPv4Interface | None = None
    gateway: IPv4Address | None = None


@dataclass(frozen=True, slots=True)
class EndpointPlan:
    """A VNF (one unit), a SAP or a host: a network namespace with interfaces, with or without a container.

    `id` is what a test writes ("fw", "input"); `hosts` are the names that its /etc/hosts resolves.
    `unit_of` is the vnf_id where it is one of a VNF's several units (`id` is then "fw.vdu01"), `replica_of`
    where it came by scaling (`id` is then "web.2").
    """

    id: str
    kind: EndpointKind
    pop: str
    interfaces: tuple[InterfacePlan, ...] = ()
    routes: tuple[RoutePlan, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    hosts: tuple[tuple[str, Address], ...] = ()
    container: ContainerPlan | None = None
    transparent: bool = False
    barriers: tuple[BarrierPlan, ...] = ()
    unit_of: str | None = None
    publish: tuple[PublishPlan, ...] = ()
    uplink: UplinkPlan | None = None
    replica_of: str | None = None


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """Where a virtual link is attached: a connection point, with what stands for it in the fabric.

    `outer` is the interface's outer end, or, for an interface in several links, the `Arm.end` of this one.
    """

    endpoint: str
    interface: str
    outer: str
    pop: str

    def __str__(self) -> str:
        # A SAP's own interface has its name.
        return self.endpoint if self.interface == self.endpoint else f"{self.endpoint}:{self.interface}"


@dataclass(frozen=True, slots=True)
class Joint:
    """The veth pair that carries a virtual link over one PoP link: `a` stands in `pop_a`'s bridge."""

    pop_link: str
    pop_a: str
    pop_b: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Bridge:
    """An E-LAN's or E-Tree's bridge in one PoP, with the outer ends and joint ends that are its ports.

    Those of the ports in `isolated` reach the others and not each other.
    """

    name: str
    pop: str
    ports: tuple[str, ...]
    isolated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Arm:
    """The veth pair between an interface's own bridge and one of its links: `port` in the bridge,
    `end` in the link, where it does what an outer end does."""

    link: str
    port: str
    end: str


@dataclass(frozen=True, slots=True)
class Split:
    """An interface in several virtual links: its outer end is the plain port of a small bridge of its
    own, each arm's port an isolated one, so that nothing passes from link to link."""

    endpoint: str
    interface: str
    outer: str
    pop: str
    bridge: str
    arms: tuple[Arm, ...]


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """One virtual link and how it is realised.

    `pop_links` names the PoP links on its way, in order for an E-Line. A direct E-Line has neither
    bridges nor joints: its two outer ends are redirected into each other. `root` is the end of an
    E-Tree that reaches all others; `aliases` are other ids under which the descriptor has the same.
    `impaired` is what the options make it do to frames: from its first end to its second, and back; of an
    E-LAN or E-Tree the first, where they enter it.
    """

    id: str
    kind: LinkKind
    realisation: Realisation
    ends: tuple[LinkEnd, ...]
    pop_links: tuple[str, ...] = ()
    bridges: tuple[Bridge, ...] = ()
    joints: tuple[Joint, ...] = ()
    subnets: tuple[Network, ...] = ()
    management: bool = False
    mtu: int = 1500
    root: LinkEnd | None = None
    aliases: tuple[str, ...] = ()
    impaired: tuple[Impairment, Impairment] | None = None


@dataclass(frozen=True, slots=True)
class Tap:
    """An interface in no link that gets a copy of each frame that enters one, at whichever of its ends.

    `outer` is its outer end, from which nothing goes on.
    """

    link: str
    endpoint: str
    interface: str
    outer: str


@dataclass(frozen=True, slots=True)
class Patch:
    """The pair that joins two links of two instances: in this one `near` stands where `sap` stood, in the
    other `far` where its SAP did."""

    sap: str
    near: str
    far: str


@dataclass(frozen=True, slots=True)
class PathPlan:
    """A forwarding path as it was written: connection points ("fw:input", "input") in order."""

    id: str
    stations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeploymentPlan:
    """All of one instance. `number` tells the instances of a bed apart in the fabric's names.

    `uuid` is what the gatekeeper's clients call it; `digest` is its package's, empty for a service in
    Python.
    """

    bed: str
    instance: str
    number: int
    service: str
    address_plan: str
    endpoints: tuple[EndpointPlan, ...]
    links: tuple[LinkPlan, ...]
    paths: tuple[PathPlan, ...] = ()
    warnings: tuple[str, ...] = ()
    splits: tuple[Split, ...] = ()
    taps: tuple[Tap, ...] = ()
    patches: tuple[Patch, ...] = ()
    uuid: str = ""
    digest: str = ""

    def endpoint(self, endpoint_id: str) -> EndpointPlan | None:
        return next((endpoint for endpoint in self.endpoints if endpoint.id == endpoint_id), None)

    def uses(self) -> tuple[PopUse, ...]:
        """What its containers take of the PoPs."""
        return tuple(
            PopUse(endpoint.pop, endpoint.container.cpu or 0.0, endpoint.container.memory or 0)
            for endpoint in self.endpoints
            if endpoint.container is not None
        )

    def networks(self) -> tuple[Network, ...]:
        """The subnets of its links and uplinks."""
        uplinks = [endpoint.uplink for endpoint in self.endpoints if endpoint.uplink is not None]
        return (
            *(subnet for link in self.links for subnet in link.subnets),
            *(uplink.address.network for uplink in uplinks if uplink.address is not None),
        )

    def units(self, vnf_id: str) -> tuple[EndpointPlan, ...]:
        """The endpoints of a VNF of several units; empty for any other."""
        return tuple(endpoint for endpoint in self.endpoints if endpoint.unit_of == vnf_id)

    def link(self, link_id: str) -> LinkPlan | None:
        """A virtual link by its id, or by another id of the same circuit."""
        return next((link for link in self.links if link_id == link.id or link_id in link.aliases), None)


@dataclass(frozen=True, slots=True)
class PopUse:
    """What the limits of the containers in one PoP sum up to: `cpu` in cores, `memory` in bytes."""

    pop: str
    cpu: float = 0.0
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Allocations:
    """What a bed has given out: a plan is made against it, and refused by the keeper when it is stale."""

    generation: int = 0
    next_number: int = 1
    instances: tuple[str, ...] = ()
    container_names: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    used: tuple[PopUse, ...] = ()

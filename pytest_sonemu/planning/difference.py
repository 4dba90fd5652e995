"""What has to be done to make of a running instance's plan another plan, and nothing that has not.

Pure: endpoints to be added, removed, given another container or changed inside, and the batches for the
fabric and for what is inside an endpoint. Swapped, the same functions take a change back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from pytest_sonemu.errors import PlanningError
from pytest_sonemu.planning import batches
from pytest_sonemu.planning.batches import Batch
from pytest_sonemu.planning.plan import (
    BarrierPlan,
    DeploymentPlan,
    EndpointPlan,
    InterfacePlan,
)


@dataclass(frozen=True, slots=True)
class Difference:
    """The endpoints that a change concerns, by id, each in one of the groups; the others go on as they are.

    `replaced` get another container, `altered` other interfaces, addresses, routes, rules or sysctls; of
    those in neither the table of hosts may be another (`told`).
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    told: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = {
            "added": self.added,
            "removed": self.removed,
            "replaced": self.replaced,
            "changed": self.altered,
        }
        return "; ".join(f"{', '.join(ids)} {word}" for word, ids in words.items() if ids) or "links"


def difference(old: DeploymentPlan, new: DeploymentPlan) -> Difference:
    """How two plans of one instance differ. Raises PlanningError where one cannot become the other."""
    for name in ("bed", "instance", "number", "uuid", "service"):
        if getattr(old, name) != getattr(new, name):
            raise PlanningError(
                f"a running instance keeps its {name} ('{getattr(old, name)}', not '{getattr(new, name)}');"
                " stop it and start another"
            )
    before = {endpoint.id: endpoint for endpoint in old.endpoints}
    after = {endpoint.id: endpoint for endpoint in new.endpoints}
    if len(after) != len(new.endpoints):
        raise PlanningError(f"the new plan of {new.instance} has two endpoints of one name")
    for name in {**before, **after}:
        ways = [one.uplink for one in (before.get(name), after.get(name)) if one is not None]
        if ways.count(ways[0]) != 2 and any(ways):
            raise PlanningError(
                f"the way out of '{name}' cannot come or go while its instance runs;"
                " stop it and start another"
            )
    replaced, altered, told = [], [], []
    for name in [name for name in before if name in after]:
        one, other = before[name], after[name]
        if one.kind != other.kind or (one.container is None) != (other.container is None):
            raise PlanningError(f"'{name}' cannot become something else while it runs; give it another name")
        if one.container != other.container:
            replaced.append(name)
        elif _inside(one) != _inside(other):
            altered.append(name)
        if one.hosts != other.hosts:
            told.append(name)
    return Difference(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        replaced=tuple(replaced),
        altered=tuple(altered),
        told=tuple(told),
    )


def _inside(endpoint: EndpointPlan) -> object:
    """What of an endpoint is seen in its namespace."""
    links = {"link": None, "also_in": (), "access": None}
    interfaces = tuple(replace(interface, **links) for interface in endpoint.interfaces)  # type: ignore[arg-type]
    return interfaces, endpoint.routes, endpoint.barriers, endpoint.sysctls


@dataclass(frozen=True, slots=True)
class Scene:
    """How things stand in the fabric when a change begins.

    `fresh` endpoints have new namespaces, `absent` ones none. `there` are the fabric's interfaces, `loose`
    those that the relay holds outside their bridges. `relayed` E-Lines are joined by the relay: before, and
    after.
    """

    fresh: Collection[str]
    absent: Collection[str]
    there: Collection[str]
    loose: Collection[str] = ()
    relayed: tuple[Collection[str], Collection[str]] = ((), ())


class FabricChange:
    """The fabric of one plan made that of another. `made` are the interfaces that are new, `gone` those
    that go last, when the endpoints behind them have ended."""

    def __init__(self, old: DeploymentPlan, new: DeploymentPlan, scene: Scene) -> None:
        self._old, self._new, self._scene = old, new, scene
        before, after = _devices(old), _devices(new)
        staying = {endpoint.id for endpoint in new.endpoints}
        remade = {
            name for name, (kind, owner, *_) in after.items() if kind == "veth" and owner in scene.fresh
        }
        absent = {
            name for name, (kind, owner, *_) in after.items() if kind == "veth" and owner in scene.absent
        }
        differ = {name for name in before if before[name] != after.get(name)}
        # What takes over the name of an end that goes needs it at once.
        leaving = {
            name
            for name in differ
            if name not in after and before[name][0] == "veth" and before[name][1] not in staying
        }
        self.gone = sorted(leaving)
        self._away = sorted((differ - leaving | remade) & set(scene.there))
        self._devices = after
        self.made = {name for name in after if name in remade or before.get(name) != after[name]} - absent
        # The second end of a pair comes and goes with its first.
        self._ends = self.made | {
            owner for kind, owner, *_ in map(after.__getitem__, self.made) if kind == "pair"
        }
        lost = {before[name][1] for name in self._away if name in before and before[name][0] == "pair"}
        self._stay = set(scene.there) - set(self._away) - lost - set(self.gone)

    def batches(self, namespace_of: Callable[[str], str]) -> list[Batch]:
        """Filters that end, interfaces and ports of bridges, filters that begin."""
        found = [
            Batch("tc", tuple(self._filters_away()), "filters that end", force=True),
            Batch("ip", tuple(self._links(namespace_of)), "links changed"),
            Batch("tc", tuple(self._filters()), "filters that begin"),
        ]
        return [batch for batch in found if batch.lines]

    def _there(self, name: str) -> bool:
        return name in self._ends or name in self._stay

    def _filters_away(self) -> Iterator[str]:
        before, after = self._redirects()
        for here, there in before.items():
            if here in self._stay and (after.get(here) != there or there in self._ends):
                yield batches.redirect_away(here)
        copied, to_copy = batches.copies(self._old), batches.copies(self._new)
        for end, taps in copied.items():
            if end in self._stay and (to_copy.get(end) != taps or self._ends.intersection(taps)):
                yield batches.copy_away(end)

    def _filters(self) -> Iterator[str]:
        before, after = self._redirects()
        for here, there in after.items():
            new = here in self._ends or there in self._ends or before.get(here) != there
            if new and self._there(here) and self._there(there):
                yield f"qdisc replace dev {here} clsact"
                yield batches.redirect(here, there)
        copied = batches.copies(self._old)
        for end, taps in batches.copies(self._new).items():
            new = end in self._ends or bool(self._ends.intersection(taps)) or copied.get(end) != taps
            if new and self._there(end):
                yield from batches.copy_lines(end, [tap for tap in taps if self._there(tap)])

    def _redirects(self) -> tuple[dict[str, str], dict[str, str]]:
        relayed_before, relayed_after = self._scene.relayed
        return _redirects(self._old, relayed_before), _redirects(self._new, relayed_after)

    def _links(self, namespace_of: Callable[[str], str]) -> Iterator[str]:
        group = self._new.number
        interfaces = {i.outer: i for endpoint in self._new.endpoints for i in endpoint.interfaces}
        yield from (f"link del dev {name}" for name in self._away)
        before, after = _masters(self._old), _masters(self._new)
        for port in before:
            if port not in after and port in self._stay and port not in self._scene.loose:
                yield f"link set dev {port} nomaster"
        for name, (kind, owner, *_) in self._devices.items():
            if name not in self.made:
                continue
            if kind == "bridge":
                yield from batches.lan(name, group)
            elif kind == "pair":
                yield batches.fabric_pair(name, owner, group)
            else:
                yield batches.veth(interfaces[name], namespace_of(owner), group)
        for port, (bridge, isolated) in after.items():
            new = port in self._ends or bridge in self.made or before.get(port) != (bridge, isolated)
            held = port in self._scene.loose and port not in self._ends
            if new and self._there(port) and not held:
                yield from batches.bridge_port(port, bridge, isolated=isolated)
        bridges = {name for name in self.made if self._devices[name][0] == "bridge"}
        yield from (f"link set dev {name} up" for name in sorted(self._ends - bridges))


def _devices(plan: DeploymentPlan) -> dict[str, tuple[str, str, str, str, int]]:
    """The fabric's interfaces of a plan: kind, then a pair's other end or the endpoint behind it, and what
    of it makes it another one."""
    found: dict[str, tuple[str, str, str, str, int]] = {}
    names = [bridge.name for link in plan.links for bridge in link.bridges]
    for name in (*names, *(split.bridge for split in plan.splits)):
        found[name] = ("bridge", "", "", "", 0)
    pairs = [(joint.a, joint.b) for link in plan.links for joint in link.joints]
    pairs += [(arm.port, arm.end) for split in plan.splits for arm in split.arms]
    pairs += [(patch.near, patch.far) for patch in plan.patches]
    for one, other in pairs:
        found[one] = ("pair", other, "", "", 0)
    for endpoint in plan.endpoints:
        for i in endpoint.interfaces:
            found[i.outer] = ("veth", endpoint.id, i.name, i.mac, i.mtu)
    return found


def _masters(plan: DeploymentPlan) -> dict[str, tuple[str, bool]]:
    """Port of a bridge -> the bridge, and whether it is isolated there."""
    found = {
        port: (bridge.name, port in bridge.isolated)
        for link in plan.links
        for bridge in link.bridges
        for port in bridge.ports
    }
    for split in plan.splits:
        found[split.outer] = (split.bridge, False)
        found.update((arm.port, (split.bridge, True)) for arm in split.arms)
    return found


def _redirects(plan: DeploymentPlan, relayed: Collection[str]) -> dict[str, str]:
    found = {}
    for link in plan.links:
        if batches.is_direct_line(link) and link.id not in relayed:
            a, b = (end.outer for end in link.ends)
            found.update({a: b, b: a})
    return found


def inside_batches(old: EndpointPlan, new: EndpointPlan, *, force: bool = False) -> list[Batch]:
    """What changes inside an endpoint that goes on, but for its sysctls; by `force` whatever of it can be."""
    before = {interface.name: interface for interface in old.interfaces}
    after = {interface.name: interface for interface in new.interfaces}
    stay = {name for name in after if name in before and _same_device(before[name], after[name])}
    lines = [
        f"route del {batches.route_words(route)}"
        for route in old.routes
        if route not in new.routes and route.interface in stay
    ]
    lines += [f"rule del {batches.rule_words(one)}" for one in _others(old, new, 4)]
    for name in (name for name in after if name in stay):
        mine, theirs = before[name].addresses, after[name].addresses
        lines += [f"addr del {address} dev {name}" for address in mine if address not in theirs]
        lines += [
            f"addr add {batches.address_words(address, name)}" for address in theirs if address not in mine
        ]
    for name, interface in after.items():
        if name not in stay:
            lines += batches.interface_lines(interface)
    lines += [
        f"route add {batches.route_words(route)}"
        for route in new.routes
        if route not in old.routes or route.interface not in stay
    ]
    lines += [f"rule add {batches.rule_words(one)}" for one in _others(new, old, 4)]
    rules = [f"rule del {batches.rule_words(one)}" for one in _others(old, new, 6)]
    rules += [f"rule add {batches.rule_words(one)}" for one in _others(new, old, 6)]
    found = [
        Batch("ip", tuple(lines), f"changes inside {new.id}", force),
        Batch("ip -6", tuple(rules), f"IPv6 rules of {new.id}", force),
    ]
    return [batch for batch in found if batch.lines]


def strangers(old: DeploymentPlan, new: DeploymentPlan) -> dict[str, list[str]]:
    """The endpoints that have lost a neighbour on a link, each with its interfaces there.

    Somebody else may have that one's address from now on.
    """
    found: dict[str, list[str]] = {}
    before = {link.id: set(link.ends) for link in old.links}
    for link in new.links:
        if before.get(link.id, set()) - set(link.ends):
            for end in link.ends:
                if end in before[link.id]:
                    found.setdefault(end.endpoint, []).append(end.interface)
    return found


def forgetting(interfaces: Iterable[str]) -> Batch:
    """What makes an endpoint ask anew who its neighbours are."""
    lines = tuple(f"neigh flush dev {name}" for name in interfaces)
    return Batch("ip", lines, "neighbours forgotten", force=True)


def inside_sysctls(old: EndpointPlan, new: EndpointPlan) -> list[tuple[str, str]]:
    """The keys to be set inside an endpoint that goes on, before its addresses change."""
    known = dict((*batches.endpoint_sysctls(old), *batches.interface_sysctls(old)))
    wanted = dict((*batches.endpoint_sysctls(new), *batches.interface_sysctls(new)))
    before = {interface.name: interface for interface in old.interfaces}
    remade = [i.name for i in new.interfaces if i.name not in before or not _same_device(before[i.name], i)]
    off = {key: "1" for key in known if key.endswith("/disable_ipv6") and key not in wanted}
    names = {interface.name for interface in new.interfaces}
    off = {key: value for key, value in off.items() if key.split("/")[-2] in names}
    return [
        (key, value)
        for key, value in (*off.items(), *wanted.items())
        if known.get(key) != value or any(f"/{name}/" in key or f".{name}." in key for name in remade)
    ]


def _others(one: EndpointPlan, other: EndpointPlan, version: int) -> list[BarrierPlan]:
    """The barriers of the one that the other has not, of one family."""
    return [
        barrier
        for barrier in one.barriers
        if barrier not in other.barriers
        and (barrier.destination.version if barrier.destination is not None else 4) == version
    ]


def _same_device(one: InterfacePlan, other: InterfacePlan) -> bool:
    return (one.outer, one.mac, one.mtu) == (other.outer, other.mac, other.mtu)

"""The texts that make a plan real: `ip -batch` and `tc -batch`, one per namespace, made from the plan alone.

The keeper runs them, writes them to the bed's transcript, and turns a line that fails into the
step's error. Facts behind the odd-looking settings are in `docs/architecture.md` ("Quiet links").
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

from pytest_sonemu.planning.names import outer_index, sink_ends
from pytest_sonemu.planning.plan import (
    BarrierPlan,
    DeploymentPlan,
    EndpointKind,
    EndpointPlan,
    Interface,
    InterfacePlan,
    LinkPlan,
    RoutePlan,
    Split,
)

# With 65535 the fabric never is the narrow place: jumbo and QinQ frames pass.
OUTER_MTU = 65535
# All link-local group addresses but PAUSE, which no bridge passes; LACP needs the port's mask.
_BRIDGE_GROUPS, PORT_GROUPS = "0xfff8", 0xFFFD

# Copies are made before frames are redirected.
COPY_PREFERENCE, REDIRECT_PREFERENCE = 5, 10

# Before the main table (32766), behind the local one (0).
BARRIER_PREFERENCE = 4096

EVERYWHERE = (
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.default.send_redirects", "0"),
    ("net.ipv4.tcp_orphan_retries", "1"),
    # Limited, a table of probes would take "refused" for "delivered" after the first few.
    ("net.ipv4.icmp_ratelimit", "0"),
    ("net.ipv4.icmp_msgs_per_sec", "1000000"),
    ("net.ipv4.icmp_msgs_burst", "1000000"),
    ("net.ipv6.icmp.ratelimit", "0"),
    # A probe's listener stands where the service would, whoever runs the test.
    ("net.ipv4.ip_unprivileged_port_start", "0"),
    # Waiting for duplicates keeps a router from looking for neighbours for a second.
    ("net.ipv6.conf.all.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv6.conf.all.accept_ra", "0"),
    ("net.ipv6.conf.default.accept_ra", "0"),
    # Only the default: `lo` keeps ::1, which programs expect.
    ("net.ipv6.conf.default.disable_ipv6", "1"),
)

# Docker loads br_netfilter, with which a bridge looks into IP packets and drops what it does not like.
FABRIC = tuple((f"net.bridge.bridge-nf-call-{tables}", "0") for tables in ("iptables", "ip6tables"))


@dataclass(frozen=True, slots=True)
class Batch:
    """One call of `program` ("ip", "ip -6", "tc"): its lines, and what they are for.

    With `force` a line that fails keeps none of the others from being tried, and nobody is told.
    """

    program: str
    lines: tuple[str, ...]
    purpose: str
    force: bool = False

    @property
    def argv(self) -> tuple[str, ...]:
        """The command that takes the lines as its input."""
        return (*self.program.split(), *(("-force",) if self.force else ()), "-batch", "-")

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)


def namespace_sysctls(kind: EndpointKind | None) -> tuple[tuple[str, str], ...]:
    """What every namespace of ours is set to before its first interface; `kind` None is the fabric.

    Nothing is inherited from the machine (a Docker host forwards, distributions differ in rp_filter).
    A VNF's forwarding comes from its plan.
    """
    forwards = () if kind == "vnf" else (("net.ipv4.ip_forward", "0"),)
    return forwards + EVERYWHERE + (FABRIC if kind is None else ())


def endpoint_sysctls(endpoint: EndpointPlan) -> tuple[tuple[str, str], ...]:
    """What an endpoint's namespace is set to beside that, before its first interface."""
    return tuple(one for one in endpoint.sysctls if _interface_of(one[0], endpoint) is None)


def interface_sysctls(endpoint: EndpointPlan) -> tuple[tuple[str, str], ...]:
    """What is set once its interfaces are there: IPv6 on those that have such an address, and on no other."""
    dual = [i.name for i in endpoint.interfaces if any(address.version == 6 for address in i.addresses)]
    on = tuple((f"net/ipv6/conf/{name}/disable_ipv6", "0") for name in dual)
    return on + tuple(one for one in endpoint.sysctls if _interface_of(one[0], endpoint) is not None)


def _interface_of(sysctl: str, endpoint: EndpointPlan) -> str | None:
    """The interface that a key is about: "net.ipv4.conf.input.rp_filter" is one of `input`."""
    for interface in endpoint.interfaces:
        if f".{interface.name}." in sysctl or f"/{interface.name}/" in sysctl:
            return interface.name
    return None


def fabric_batches(
    plan: DeploymentPlan,
    namespace_of: Callable[[str], str],
    *,
    endpoints: Container[str] | None = None,
    present: Container[str] = (),
    relayed: Container[str] = (),
) -> list[Batch]:
    """What happens in the fabric's namespace.

    `namespace_of` gives an endpoint's namespace as `ip` takes it (a pid or a path). With `endpoints`
    only those are wired (again): bridges and joints are there already, and of the other ends only
    those in `present` are joined to them. E-Lines in `relayed` are joined by the relay, not here.
    """
    chosen = [e for e in plan.endpoints if endpoints is None or e.id in endpoints]
    fresh = {interface.outer for endpoint in chosen for interface in endpoint.interfaces}
    group = plan.number
    lines: list[str] = []
    arms = {arm.end for split in plan.splits for arm in split.arms}
    arms |= {end for patch in plan.patches for end in (patch.near, patch.far)}
    if endpoints is None:
        lines += _bridges(plan, group)
        lines += _joints(plan.links, group)
        lines += _arms(plan.splits, group)
        lines += [fabric_pair(patch.near, patch.far, group) for patch in plan.patches]
    for endpoint in chosen:
        lines += [veth(interface, namespace_of(endpoint.id), group) for interface in endpoint.interfaces]
    # Arms are made once and stay, whatever becomes of the interface behind them.
    new = fresh | arms if endpoints is None else fresh
    there = (arms - new).union(end.outer for link in plan.links for end in link.ends if end.outer in present)
    lines += _members(plan, new)
    lines += [f"link set dev {outer} up" for outer in sorted(new)]
    stale, fresh_filters = _redirects(plan, new, there, relayed)
    for end, taps in copies(plan).items():
        if end in new or any(tap in new and end in there for tap in taps):
            stale += [] if end in new else [copy_away(end)]
            fresh_filters += copy_lines(end, [tap for tap in taps if tap in new or tap in present])
    batches = [Batch("ip", tuple(lines), "links")] if lines else []
    # A filter that is not there (its other end never was) need not go.
    batches += [Batch("tc", tuple(stale), "filters to what has gone", force=True)] if stale else []
    return batches + ([Batch("tc", tuple(fresh_filters), "E-Lines")] if fresh_filters else [])


def copies(plan: DeploymentPlan) -> dict[str, list[str]]:
    """The ends of links whose frames are copied, each with the outer ends that get the copies."""
    ends = {link.id: [end.outer for end in link.ends] for link in plan.links}
    found: dict[str, list[str]] = {}
    for tap in plan.taps:
        for end in ends.get(tap.link, ()):
            found.setdefault(end, []).append(tap.outer)
    return found


def copy_lines(end: str, taps: Iterable[str]) -> list[str]:
    """The `tc -batch` lines that copy what enters a link at `end`; the frames themselves go on."""
    actions = [f"action mirred egress mirror dev {tap}" for tap in taps]
    if not actions:
        return []
    match = f"filter add dev {end} ingress protocol all pref {COPY_PREFERENCE} u32 match u32 0 0"
    return [f"qdisc replace dev {end} clsact", f"{match} {' pipe '.join(actions)} continue"]


def copy_away(end: str) -> str:
    """The line that ends the copies of what enters at `end`."""
    return f"filter del dev {end} ingress pref {COPY_PREFERENCE}"


def endpoint_batch(endpoint: EndpointPlan) -> Batch:
    """What happens inside an endpoint's namespace: names, addresses, up, routes; all seen from outside."""
    lines = ["link set dev lo up"]
    for interface in endpoint.interfaces:
        lines += interface_lines(interface)
    lines += [f"route add {route_words(route)}" for route in endpoint.routes]
    lines += [
        f"rule add {rule_words(one)}"
        for one in endpoint.barriers
        if one.destination is None or one.destination.version == 4
    ]
    return Batch("ip", tuple(lines), f"interfaces of {endpoint.id}")


def interface_lines(interface: InterfacePlan) -> list[str]:
    """The lines that give an interface its name, its addresses, and set it up."""
    lines = []
    if interface.altname is not None:
        lines.append(f"link property add dev {interface.name} altname {interface.altname}")
    lines += [f"addr add {address_words(address, interface.name)}" for address in interface.addresses]
    return [*lines, f"link set dev {interface.name} up"]


def address_words(address: Interface, interface: str) -> str:
    """An address as `ip addr add` takes it."""
    skip_dad = " nodad" if address.version == 6 else ""
    return f"{address} dev {interface}{skip_dad}"


def route_words(route: RoutePlan) -> str:
    """A route as `ip route add` takes it."""
    return f"{route.destination} via {route.gateway} dev {route.interface} metric {route.metric}"


def endpoint_batches(endpoint: EndpointPlan) -> list[Batch]:
    """`endpoint_batch`, and the rules of IPv6 apart: `ip rule` does not see the family by itself."""
    rules = [
        f"rule add {rule_words(one)}"
        for one in endpoint.barriers
        if one.destination is not None and one.destination.version == 6
    ]
    more = [Batch("ip -6", tuple(rules), f"IPv6 rules of {endpoint.id}")] if rules else []
    return [endpoint_batch(endpoint), *more]


def rule_words(barrier: BarrierPlan) -> str:
    """A barrier as `ip rule add` takes it."""
    to = f" to {barrier.destination}" if barrier.destination is not None else ""
    # After the local table: the VNF's own addresses answer as before.
    return f"iif {barrier.interface}{to} unreachable pref {BARRIER_PREFERENCE}"


def sink_batch(number: int) -> Batch:
    """What the links of an instance need before the first of them loses frames."""
    ends = sink_ends(number)
    return Batch("ip", (fabric_pair(*ends, number), *(f"link set dev {end} up" for end in ends)), "sink")


def removal_batch(outers: Iterable[str]) -> Batch:
    """Take outer ends away (their inner ends go with them)."""
    return Batch("ip", tuple(f"link del dev {outer}" for outer in outers), "links away")


def instance_removal(number: int) -> tuple[str, ...]:
    """The `ip` command that takes all links of one instance away in one request, whatever there is left."""
    return ("ip", "link", "delete", "group", str(number))


def veth(interface: InterfacePlan, namespace: str, group: int) -> str:
    index = outer_index(interface.outer)
    numbered = "" if index is None else f" index {index}"
    return (
        f"link add {interface.outer}{numbered} mtu {OUTER_MTU} group {group} type veth"
        f" peer name {interface.name} address {interface.mac} mtu {interface.mtu} netns {namespace}"
    )


def _bridges(plan: DeploymentPlan, group: int) -> list[str]:
    names = [bridge.name for link in plan.links for bridge in link.bridges]
    return [line for name in (*names, *(split.bridge for split in plan.splits)) for line in lan(name, group)]


def lan(name: str, group: int) -> list[str]:
    """The lines that make a bridge."""
    settings = f"stp_state 0 mcast_snooping 0 group_fwd_mask {_BRIDGE_GROUPS}"
    return [
        f"link add {name} group {group} type bridge {settings}",
        f"link set dev {name} mtu {OUTER_MTU} up",
    ]


def _joints(links: Iterable[LinkPlan], group: int) -> list[str]:
    lines = []
    for link in links:
        bridges = {port: bridge for bridge in link.bridges for port in bridge.ports}
        for joint in link.joints:
            lines.append(fabric_pair(joint.a, joint.b, group))
            for end in (joint.a, joint.b):
                lines += bridge_port(end, bridges[end].name, isolated=end in bridges[end].isolated)
                lines.append(f"link set dev {end} up")
    return lines


def _arms(splits: Iterable[Split], group: int) -> list[str]:
    lines = []
    for split in splits:
        for arm in split.arms:
            lines.append(fabric_pair(arm.port, arm.end, group))
            lines += bridge_port(arm.port, split.bridge, isolated=True)
            lines.append(f"link set dev {arm.port} up")
    return lines


def fabric_pair(a: str, b: str, group: int) -> str:
    return f"link add {a} mtu {OUTER_MTU} group {group} type veth peer name {b} mtu {OUTER_MTU} group {group}"


def _members(plan: DeploymentPlan, new: Container[str]) -> list[str]:
    """The outer ends and arms that are new, each in the bridge it belongs to."""
    joint_ends = {end for link in plan.links for joint in link.joints for end in (joint.a, joint.b)}
    lines = [
        line
        for link in plan.links
        for bridge in link.bridges
        for port in bridge.ports
        if port in new and port not in joint_ends
        for line in bridge_port(port, bridge.name, isolated=port in bridge.isolated)
    ]
    return lines + [
        line
        for split in plan.splits
        if split.outer in new
        for line in bridge_port(split.outer, split.bridge, isolated=False)
    ]


def bridge_port(name: str, bridge: str, *, isolated: bool) -> list[str]:
    apart = " isolated on" if isolated else ""
    return [
        f"link set dev {name} master {bridge}",
        f"link set dev {name} type bridge_slave group_fwd_mask {PORT_GROUPS:#x}{apart}",
    ]


def redirect(here: str, there: str) -> str:
    """The line that makes all that comes in at `here` go out at `there`."""
    return (
        f"filter add dev {here} ingress protocol all pref {REDIRECT_PREFERENCE} u32 match u32 0 0"
        f" action mirred egress redirect dev {there}"
    )


def redirect_away(here: str) -> str:
    """The line that ends a redirection, and leaves copies as they are."""
    return f"filter del dev {here} ingress pref {REDIRECT_PREFERENCE}"


def _redirects(
    plan: DeploymentPlan, fresh: Container[str], present: Container[str], relayed: Container[str]
) -> tuple[list[str], list[str]]:
    """The filters of direct E-Lines: those that are stale, and those to be made.

    An end that is not there yet gets its filter when it comes.
    """
    stale: list[str] = []
    lines: list[str] = []
    for link in plan.links:
        if not is_direct_line(link):
            continue
        a, b = (end.outer for end in link.ends)
        lonely = (a not in fresh and a not in present) or (b not in fresh and b not in present)
        for here, there in ((a, b), (b, a)):
            if here in fresh:
                lines.append(f"qdisc add dev {here} clsact")
            if lonely or link.id in relayed or not (here in fresh or there in fresh):
                continue
            if here not in fresh:
                # A filter whose target went away stays, and swallows everything.
                stale.append(redirect_away(here))
            lines.append(redirect(here, there))
    return stale, lines


def is_direct_line(link: LinkPlan) -> bool:
    """Whether the two ends of a link are redirected into each other, unless it is relayed."""
    return link.kind == "E-Line" and link.realisation != "switched" and not link.bridges

"""Services and topologies for the tests of planning, written after real packages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pytest_sonemu.descriptors.model import (
    ConnectionPoint,
    ForwardingPath,
    NetworkFunction,
    NetworkService,
    Reference,
)
from pytest_sonemu.planning.make import make_plan
from pytest_sonemu.planning.options import parse_service_options
from pytest_sonemu.planning.plan import Allocations, DeploymentPlan, EndpointPlan, ImageChoice, LinkPlan
from pytest_sonemu.topology.model import PoP, PopLink, Topology

IMAGE = ImageChoice("vnf:1", "sha256:1", "present", command=("/bin/bash",))
TWO_POPS = Topology((PoP("pop1"), PoP("pop2")), (PopLink("pop1", "pop2"),))


def function(vnf_id: str, *points: str) -> NetworkFunction:
    """A VNF with these points (default: mgmt, input, output); `mgmt` is of type management."""
    names = points or ("mgmt", "input", "output")
    return NetworkFunction(
        vnf_id,
        connection_points=tuple(
            ConnectionPoint(name, "management" if name == "mgmt" else "external") for name in names
        ),
    )


def path(*stations: str, name: str = "fp01") -> ForwardingPath:
    return ForwardingPath(name, tuple(Reference.parse(station) for station in stations))


def empty_service(*, with_path: bool = True) -> NetworkService:
    """sonata-empty-service: three VNFs in a chain between two SAPs, and a management E-LAN."""
    service = NetworkService.of(
        "sonata-empty-service",
        [function(f"empty_vnf{number}") for number in (1, 2, 3)],
        {
            "link-input": ["input", "empty_vnf1:input"],
            "link-12": ["empty_vnf1:output", "empty_vnf2:input"],
            "link-23": ["empty_vnf2:output", "empty_vnf3:input"],
            "link-output": ["empty_vnf3:output", "output"],
        },
        lans={"mgmt": ["empty_vnf1:mgmt", "empty_vnf2:mgmt", "empty_vnf3:mgmt", "mgmt"]},
    )
    members = [f"empty_vnf{number}:{point}" for number in (1, 2, 3) for point in ("input", "output")]
    return replace(service, paths=(path("input", *members, "output"),) if with_path else ())


def snort_service() -> NetworkService:
    service = NetworkService.of(
        "sonata-snort-service",
        [function("snort_vnf")],
        {"link-input": ["input", "snort_vnf:input"], "link-output": ["snort_vnf:output", "output"]},
        lans={"mgmt": ["snort_vnf:mgmt", "mgmt"]},
    )
    return replace(service, paths=(path("input", "snort_vnf:input", "snort_vnf:output", "output"),))


def vforward_service() -> NetworkService:
    """vforward-8-1: eight VNFs, nine E-Lines; the management SAP is the E-LAN's first member."""
    ids = [f"vforward_vnf_{number}_1" for number in range(1, 9)]
    hops = ["input", *(f"{vnf_id}:{point}" for vnf_id in ids for point in ("input", "output")), "output"]
    links = {f"link_{number}": [hops[2 * number - 2], hops[2 * number - 1]] for number in range(1, 10)}
    service = NetworkService.of(
        "vfoward-8-1",
        [function(vnf_id) for vnf_id in ids],
        links,
        lans={"mgmt": ["mgmt", *(f"{vnf_id}:mgmt" for vnf_id in ids)]},
    )
    return replace(service, paths=(path(*hops),))


def fw_vtc_service() -> NetworkService:
    """sonata-fw-vtc-service: firewall and classifier, and a link back between the two SAPs."""
    service = NetworkService.of(
        "sonata-fw-vtc-service",
        [function("fw_vnf", "mgmt", "fwin", "fwout"), function("vtc_vnf")],
        {
            "link-input": ["servicein", "fw_vnf:fwin"],
            "link-interconnect": ["fw_vnf:fwout", "vtc_vnf:input"],
            "link-output": ["vtc_vnf:output", "serviceout"],
            "link-back": ["serviceout", "servicein"],
        },
        lans={"mgmt": ["fw_vnf:mgmt", "vtc_vnf:mgmt", "mgmt"]},
    )
    stations = ("servicein", "fw_vnf:fwin", "fw_vnf:fwout", "vtc_vnf:input", "vtc_vnf:output")
    return replace(service, paths=(path(*stations, "serviceout", "servicein"),))


def vcdn_service() -> NetworkService:
    """vcdn: clients reach the web server only through the proxy, which stands in two E-LANs."""
    return NetworkService.of(
        "vcdn",
        [function("squid1", "port0", "port1"), function("webserver1", "port0")],
        {},
        lans={
            "SAP-LAN": ["vCDN-SAP1", "vCDN-SAP2", "squid1:port0"],
            "webserver-LAN": ["webserver1:port0", "squid1:port1"],
        },
    )


def balancer_service() -> NetworkService:
    """A load balancer: an E-Line from the SAP, an E-LAN to its servers, a path as people write it."""
    service = NetworkService.of(
        "balancer",
        [function("lb", "front", "back"), function("web1", "data"), function("web2", "data")],
        {"in": ["input", "lb:front"]},
        lans={"servers": ["lb:back", "web1:data", "web2:data"]},
    )
    return replace(service, paths=(path("input", "lb:front", "lb:back", "web1:data"),))


def plan(
    service: NetworkService,
    topology: Topology = TWO_POPS,
    *,
    allocations: Allocations | None = None,
    images: dict[str, ImageChoice] | None = None,
    instance: str | None = None,
    **options: Any,
) -> DeploymentPlan:
    chosen = {vnf.id: IMAGE for vnf in service.functions}
    return make_plan(
        service,
        topology,
        bed="bed",
        options=parse_service_options(options, "test"),
        images={**chosen, **(images or {})},
        allocations=allocations or Allocations(),
        instance=instance,
    )


def given_out(*plans: DeploymentPlan) -> Allocations:
    """The allocations of a bed in which these plans were carried out."""
    return Allocations(
        generation=len(plans),
        next_number=len(plans) + 1,
        instances=tuple(one.instance for one in plans),
        container_names=tuple(e.container.name for one in plans for e in one.endpoints if e.container),
        networks=tuple(network for one in plans for link in one.links for network in link.subnets),
        used=tuple(use for one in plans for use in one.uses()),
    )


def endpoint(of: DeploymentPlan, endpoint_id: str) -> EndpointPlan:
    found = of.endpoint(endpoint_id)
    assert found is not None
    return found


def link(of: DeploymentPlan, link_id: str) -> LinkPlan:
    found = of.link(link_id)
    assert found is not None
    return found


def addresses(of: DeploymentPlan) -> dict[str, str]:
    """`"fw:input"` (a SAP: `"input"`) -> its address with prefix, where it has one."""
    return {
        one.id if one.kind != "vnf" else f"{one.id}:{interface.connection_point}": str(interface.addresses[0])
        for one in of.endpoints
        for interface in one.interfaces
        if interface.addresses
    }


def on_link(of: DeploymentPlan, link_id: str) -> list[str]:
    """The addresses on a link, in reference order."""
    interfaces = {i.outer: i for one in of.endpoints for i in one.interfaces}
    return [str(interfaces[end.outer].addresses[0]) for end in link(of, link_id).ends]


def routes(of: DeploymentPlan, endpoint_id: str) -> dict[str, str]:
    """Destination -> gateway; the default route is `"default"`."""
    return {
        "default" if not route.destination.prefixlen else str(route.destination): str(route.gateway)
        for route in endpoint(of, endpoint_id).routes
    }


def forwarders(of: DeploymentPlan) -> set[str]:
    return {one.id for one in of.endpoints if dict(one.sysctls)["net.ipv4.ip_forward"] == "1"}


def can_reach(of: DeploymentPlan) -> set[tuple[str, str]]:
    """Pairs of endpoint ids (source, target) of which the target's addresses can be reached by IP.

    A packet is walked from the source over its routes and through those that forward, and its answer
    back to the address it was sent from; management interfaces are left out.
    """
    return {
        (source.id, target.id)
        for source in of.endpoints
        for target in of.endpoints
        if source is not target and _answers(of, source, target)
    }


def _data(of: DeploymentPlan, one: EndpointPlan) -> Iterable[Any]:
    management = {entry.id for entry in of.links if entry.management}
    return [i for i in one.interfaces if i.addresses and i.link is not None and i.link not in management]


def _answers(of: DeploymentPlan, source: EndpointPlan, target: EndpointPlan) -> bool:
    return any(
        far.version == near.version and _walk(of, source, far.ip) and _walk(of, target, near.ip)
        for far in _data_addresses(of, target)
        for near in _data_addresses(of, source)
    )


def _data_addresses(of: DeploymentPlan, one: EndpointPlan) -> list[Any]:
    return [address for interface in _data(of, one) for address in interface.addresses]


def _walk(of: DeploymentPlan, start: EndpointPlan, address: Any) -> bool:
    owners = {own.ip: one for one in of.endpoints for own in _data_addresses(of, one)}
    forwarding = "net.ipv4.ip_forward" if address.version == 4 else "net.ipv6.conf.all.forwarding"
    at = start
    for hop in range(len(of.endpoints) + 1):
        if any(own.ip == address for i in at.interfaces for own in i.addresses):
            return True
        if hop and dict(at.sysctls)[forwarding] != "1":
            return False
        if any(address in own.network for own in _data_addresses(of, at)):
            at = owners[address]
            continue
        matching = [route for route in at.routes if address in route.destination]
        if not matching:
            return False
        at = owners[max(matching, key=lambda route: route.destination.prefixlen).gateway]
    return False

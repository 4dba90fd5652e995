"""What is inside an endpoint's namespace, made as its plan has it: sysctls, addresses, routes, offloads."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_sonemu.emulation import namespaces, offload
from pytest_sonemu.emulation.fabric import Fabric
from pytest_sonemu.emulation.running import RunningEndpoint
from pytest_sonemu.planning import batches
from pytest_sonemu.planning import difference as differences
from pytest_sonemu.planning.plan import EndpointPlan, InterfacePlan


def furnish(fabric: Fabric, running: RunningEndpoint) -> None:
    """All of it, once the interfaces are there."""
    endpoint = running.plan
    sysctls = batches.interface_sysctls(endpoint)
    if sysctls:
        namespaces.write_sysctls(running.namespace, sysctls)
    fabric.run_in(running.namespace, running.address_of_namespace, batches.endpoint_batches(endpoint))
    switch_offloads(fabric, running, endpoint.interfaces)


def refurnish(
    fabric: Fabric, running: RunningEndpoint, before: EndpointPlan, after: EndpointPlan, *, force: bool
) -> None:
    """What differs between two plans; by `force` whatever of it can be done."""
    if running.namespace is None:
        return
    if sysctls := differences.inside_sysctls(before, after):
        namespaces.write_sysctls(running.namespace, sysctls)
    fabric.run_in(
        running.namespace,
        running.address_of_namespace,
        differences.inside_batches(before, after, force=force),
    )
    switch_offloads(fabric, running, after.interfaces)


def switch_offloads(fabric: Fabric, running: RunningEndpoint, interfaces: Iterable[InterfacePlan]) -> None:
    """Switch those offloads off that no interface is to have, and all of those that are to have none, there
    at both ends.

    Every link may be relayed one day, and a VNF must not see it: so tunnels are cut from the start.
    """
    interfaces = list(interfaces)
    if running.namespace is None or not interfaces:
        return
    plain = [interface for interface in interfaces if not interface.offload]
    if plain:
        fabric.transcript.note(f"offloads off: {', '.join(f'{i.outer} {i.name}' for i in plain)}")
        # The outer end sends what the endpoint gets.
        offload.switch_off(interface.outer for interface in plain)

    def inside() -> None:
        offload.cut_tunnels(interface.name for interface in interfaces)
        offload.switch_off(interface.name for interface in plain)

    namespaces.inside(running.namespace, inside)

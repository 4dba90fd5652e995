"""What instances have left on a bed."""

from __future__ import annotations

from pytest_sonemu.emulation.client import BedClient
from pytest_sonemu.emulation.docker_api import DockerClient
from pytest_sonemu.handles.interfaces import read_outer
from pytest_sonemu.handles.testbed import TestBed


def left_of_instances(bed: TestBed, docker: DockerClient) -> list[str]:
    """Instances that the bed knows of, and containers and interfaces in the fabric that are none's."""
    services = bed.services
    containers = {end.container.name for one in services for end in one.plan.endpoints if end.container}
    labelled = docker.containers(all=True, filters={"label": f"sonemu.testbed={bed.name}"})
    names = {found["Names"][0].lstrip("/") for found in labelled}
    strays = {name for name in names - containers if f"sonemu-{bed.name}-gone-" not in name}
    planned = {i.outer for one in services for end in one.plan.endpoints for i in end.interfaces}
    planned |= {bridge.name for one in services for link in one.plan.links for bridge in link.bridges}
    planned |= {
        name for one in services for link in one.plan.links for j in link.joints for name in (j.a, j.b)
    }
    client = BedClient.attach(bed.name)
    ends = {name for name in read_outer(client) if name != "lo"}
    client.close()
    return [*(one.uuid for one in services), *sorted(strays), *sorted(ends - planned)]

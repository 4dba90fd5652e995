"""Real packages over HTTP on two PoPs, what their images rely on, and starts that fail at each step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_sonemu.emulation.docker_api import DockerClient, connect
from pytest_sonemu.errors import GatekeeperError
from pytest_sonemu.gatekeeper.client import GatekeeperClient
from pytest_sonemu.gatekeeper.serving import serve
from pytest_sonemu.handles.testbed import TestBed
from tests.support.fake_emulation import TWO_POPS
from tests.support.left_over import left_of_instances
from tests.support.small_packages import small

STAND_INS = {"*": "sonemu/vnf-base"}
SERVICES = {
    "sonata-empty-service.son": 3,
    "sonata-demo-service.son": 3,
    "sonata-snort-service.son": 1,
    "sonata-fw-vtc-service.son": 2,
    "vforward-8-1.son": 8,
}


@pytest.fixture(scope="module")
def docker() -> Iterator[DockerClient]:
    client = connect()
    yield client
    client.close()


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    with TestBed(TWO_POPS) as bed:
        yield bed


@pytest.fixture
def gatekeeper(bed: TestBed, docker: DockerClient) -> Iterator[GatekeeperClient]:
    with serve(bed) as served, GatekeeperClient(served.url) as client:
        yield client
    for service in bed.services:
        service.stop()
    assert left_of_instances(bed, docker) == []


@pytest.mark.parametrize("package", SERVICES)
def test_a_real_package_twice_at_once(
    gatekeeper: GatekeeperClient, bed: TestBed, docker: DockerClient, shared_packages: Path, package: str
) -> None:
    onboarded = gatekeeper.onboard(shared_packages / package).service_uuid
    uuids: list[str] = []

    def start() -> None:
        with GatekeeperClient(gatekeeper.url) as client:
            uuids.append(client.start(onboarded, images=STAND_INS))

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(gatekeeper.instances()[0]) == sorted(uuids)
    views = [gatekeeper.instance(uuid) for uuid in uuids]
    vnfs = [vnf for view in views for vnf in view.vnfs]
    assert len(vnfs) == 2 * SERVICES[package]
    assert {vnf.pop for vnf in vnfs} == ({"pop1", "pop2"} if SERVICES[package] > 1 else {"pop1"})
    containers = [vnf.container for vnf in vnfs if vnf.container is not None]
    assert len({container.name for container in containers}) == len(vnfs)
    assert all(docker.inspect_container(container.id)["State"]["Running"] for container in containers)
    addresses = [a for vnf in vnfs for interface in vnf.interfaces for a in interface.addresses]
    assert len(set(addresses)) == len(addresses) > 0
    for uuid in uuids:
        gatekeeper.stop(uuid)
    assert gatekeeper.instances() == ((),)
    assert left_of_instances(bed, docker) == []


def test_limits(gatekeeper: GatekeeperClient, docker: DockerClient, shared_packages: Path) -> None:
    """Ruling 8's figures, read back from Docker."""
    gatekeeper.onboard(shared_packages / "sonata-stress-service.son")
    view = gatekeeper.instance(gatekeeper.start(images=STAND_INS))
    limits = {}
    for vnf in view.vnfs:
        assert vnf.container is not None
        host = docker.inspect_container(vnf.container.id)["HostConfig"]
        assert host["CpuPeriod"] == 100_000
        limits[vnf.id] = (host["CpuQuota"] / host["CpuPeriod"], host["Memory"])
    assert sorted(limits.values()) == [(0.07, 327155712), (0.3, 1610612736), (0.33, 601295421)]


def test_a_package_that_lacks_a_file(gatekeeper: GatekeeperClient, shared_packages: Path) -> None:
    with pytest.raises(GatekeeperError) as caught:
        gatekeeper.onboard(shared_packages / "sonata-demo-invalid-integrity-1.son")
    assert caught.value.status == 500
    assert "sonata-demo-invalid-integrity-1.son" in caught.value.detail
    assert "error[" in caught.value.detail
    assert gatekeeper.packages() == ()


def test_http_and_handles_see_the_same(gatekeeper: GatekeeperClient, bed: TestBed, tmp_path: Path) -> None:
    gatekeeper.onboard_bytes(small())
    uuid = gatekeeper.start()
    service = bed.service(uuid)
    assert service.ping("input", "fw:input").loss == 0
    counters = {link.id: link.counters for link in gatekeeper.instance(uuid).links}
    assert sum(counter.packets for counter in counters["link-0"]) > 0

    path = tmp_path / "theirs.son"
    path.write_bytes(small(name="theirs"))
    mine = bed.start(path)
    assert gatekeeper.instances() == ((uuid,), (mine.uuid,))
    assert gatekeeper.instance(mine.uuid).name == mine.id == "theirs"
    with TestBed.attach(bed.name) as attached:
        assert attached.service(uuid).id == service.id
        attached.service(uuid).stop()
    assert gatekeeper.instances() == ((), (mine.uuid,))
    gatekeeper.stop(mine.uuid)
    mine.stop()
    assert bed.services == ()


def test_a_vnf_that_ended_is_shown(gatekeeper: GatekeeperClient, bed: TestBed) -> None:
    gatekeeper.onboard_bytes(small())
    uuid = gatekeeper.start()
    bed.service(uuid).vnf("fw").kill()
    (vnf,) = gatekeeper.instance(uuid).vnfs
    assert vnf.container is not None
    assert (vnf.container.phase, vnf.container.exit_status) == ("exited", 137)
    assert [(interface.name, interface.up) for interface in vnf.interfaces] == [
        ("input", False),
        ("output", False),
    ]


def test_what_images_rely_on(gatekeeper: GatekeeperClient, bed: TestBed) -> None:
    """Entry and stop scripts, VNF_NAME, /mnt/share, interface names, the addresses of a named plan."""
    gatekeeper.onboard_bytes(small())
    script = "echo $VNF_NAME $(hostname) > /mnt/share/name; ip -o -4 addr > /mnt/share/addresses"
    environment = {"SON_EMU_CMD": script, "SON_EMU_CMD_STOP": "echo over > /mnt/share/end"}
    uuid = gatekeeper.start(vnfs={"fw": {"env": environment}}, address_plan="seed")
    service = bed.service(uuid)
    share = service.vnf("fw").share
    until(lambda: (share / "addresses").exists() and (share / "addresses").read_text().count("inet ") == 3)
    assert (share / "name").read_text() == "fw fw\n"
    seen = {line.split()[1]: line.split()[3] for line in (share / "addresses").read_text().splitlines()}
    assert seen == {"lo": "127.0.0.1/8", "input": "200.0.0.2/24", "output": "201.0.0.1/24"}
    service.vnf("fw").stop()
    assert (share / "end").read_text() == "over\n"


def test_old_names_of_containers(bed: TestBed, docker: DockerClient) -> None:
    """One of each vnf_id; a second start is refused and leaves the first alone."""
    with (
        serve(bed, options={"container_names": "mn"}) as served,
        GatekeeperClient(served.url) as gatekeeper,
    ):
        gatekeeper.onboard_bytes(small("old-name"))
        uuid = gatekeeper.start()
        assert docker.inspect_container("mn.old-name")["State"]["Running"]
        with pytest.raises(GatekeeperError, match=r"mn\.old-name"):
            gatekeeper.start()
        assert gatekeeper.instances() == ((uuid,),)
        gatekeeper.stop()
        gatekeeper.stop(gatekeeper.start())


def test_no_new_privileges(gatekeeper: GatekeeperClient, docker: DockerClient) -> None:
    """On for what is started over HTTP, whatever else the request says of its VNFs."""
    gatekeeper.onboard_bytes(small())
    gatekeeper.start(vnfs={"*": {"env": {"A": "1"}}, "fw": {"cpu": 0.5}})
    (vnf,) = gatekeeper.instance(gatekeeper.instances()[0][0]).vnfs
    assert vnf.container is not None
    host = docker.inspect_container(vnf.container.id)["HostConfig"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["CpuQuota"] == 50_000


FAILURES: dict[str, tuple[dict[str, Any], str]] = {
    "image": ({"vnfs": {"ids": {"image": "nobody.invalid/none:1"}}}, "nobody.invalid"),
    "placement": ({"placement": {"fw": "pop1", "ids": "nowhere"}}, "nowhere"),
    "container": ({"vnfs": {"ids": {"memory": "1k"}}}, "memory"),
    "namespace": ({"vnfs": {"ids": {"sysctls": {"net.ipv4.no_such": "1"}}}}, "no_such"),
    "command": ({"vnfs": {"ids": {"command": ["/no/such/program"]}}}, "/no/such/program"),
    "end": ({"vnfs": {"ids": {"command": ["false"]}}}, "ids"),
    "ready": ({"vnfs": {"ids": {"ready": "exec:false", "ready_timeout": "300ms"}}}, "ids"),
}


@pytest.mark.parametrize("step", FAILURES)
def test_a_start_that_fails_leaves_nothing(
    gatekeeper: GatekeeperClient, bed: TestBed, docker: DockerClient, step: str
) -> None:
    options, reason = FAILURES[step]
    gatekeeper.onboard_bytes(small("fw", "ids"))
    with pytest.raises(GatekeeperError) as caught:
        gatekeeper.start(**options)
    assert caught.value.status == 500
    assert reason in caught.value.detail
    assert gatekeeper.instances() == ((),)
    assert left_of_instances(bed, docker) == []
    assert gatekeeper.start()


def test_a_name_that_is_taken(gatekeeper: GatekeeperClient, bed: TestBed, docker: DockerClient) -> None:
    """By somebody else's container, which stays."""
    name = f"sonemu-{bed.name}-ids"
    stranger = docker.create_container("sonemu/vnf-base", ["true"], name=name)["Id"]
    try:
        gatekeeper.onboard_bytes(small("fw", "ids"))
        with pytest.raises(GatekeeperError, match=name):
            gatekeeper.start()
        assert gatekeeper.instances() == ((),)
        assert left_of_instances(bed, docker) == []
        assert docker.inspect_container(name)["Id"] == stranger
    finally:
        docker.remove_container(stranger)


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)

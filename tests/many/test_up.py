"""`sonemu up` and the verbs against it, as processes: ready, used, ended in each of its ways."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from pytest_sonemu.emulation import places
from pytest_sonemu.emulation.docker_api import DockerClient, connect
from pytest_sonemu.gatekeeper.client import GatekeeperClient
from pytest_sonemu.handles.testbed import TestBed
from tests.pure.package_writing import members, nsd, vnfd
from tests.support.small_packages import small, zipped
from tests.support.sonemu_up import Up, sonemu, sonemu_up


@pytest.fixture(scope="module")
def docker() -> Iterator[DockerClient]:
    client = connect()
    yield client
    client.close()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "small.son"
    path.write_bytes(small())
    return path


def left(docker: DockerClient, bed: str) -> list[str]:
    """Containers and the run directory of a bed."""
    labelled = docker.containers(all=True, filters={"label": f"sonemu.testbed={bed}"})
    run_dirs = [str(path) for path in places.RUN_ROOT.glob(f"*/{bed}")]
    return [*(found["Names"][0] for found in labelled), *run_dirs]


def by_exit(up: Up) -> None:
    assert requests.put(f"{up.url}/emulator/exit", timeout=10).json() is None


def by_down(up: Up) -> None:
    done = sonemu("down", up.bed)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"bed {up.bed} has ended\n"


def by_the_bed_itself(up: Up) -> None:
    attached = TestBed.attach(up.bed)
    attached.end()


WAYS: dict[str, Callable[[Up], None]] = {
    "Ctrl-C": lambda up: up.process.send_signal(signal.SIGINT),
    "SIGTERM": lambda up: up.process.send_signal(signal.SIGTERM),
    "PUT /emulator/exit": by_exit,
    "sonemu down": by_down,
    "the bed's own end": by_the_bed_itself,
}


@pytest.mark.parametrize("way", WAYS)
def test_it_ends_and_leaves_nothing(docker: DockerClient, package: Path, way: str) -> None:
    with sonemu_up("--package", str(package), "--start") as up:
        bed = up.bed
        assert len(left(docker, bed)) == 2
        WAYS[way](up)
        assert up.ended() == 0
        assert left(docker, bed) == []
        assert up.lines[-1] == f"bed {bed} has ended"


def test_a_killed_one_leaves_nothing(docker: DockerClient, package: Path) -> None:
    with sonemu_up("--package", str(package), "--start") as up:
        bed = up.bed
        up.process.kill()
        up.ended()
        waiting = threading.Event()
        for _ in range(500):
            if not left(docker, bed):
                break
            waiting.wait(0.02)
        assert left(docker, bed) == []


def test_the_end_cuts_a_start_short(docker: DockerClient, tmp_path: Path) -> None:
    """A start that is under way is answered, and nothing of it stays."""
    with sonemu_up() as up, GatekeeperClient(up.url) as gatekeeper:
        gatekeeper.onboard_bytes(small())
        gatekeeper.begin(vnfs={"fw": {"ready": "exec:false"}})
        up.until(lambda: len(left(docker, up.bed)) == 2)  # its container is there, and is not ready
        assert "deployed:" not in up.lines
        up.process.send_signal(signal.SIGTERM)
        assert up.ended() == 0
        assert left(docker, up.bed) == []


def test_the_first_line_and_what_changes(package: Path) -> None:
    with sonemu_up("--name", "gate-lines") as up:
        assert f"bed gate-lines is up: {up.url} (Ctrl-C ends it)" == up.lines[0]
        with GatekeeperClient(up.url) as gatekeeper:
            uuid = gatekeeper.onboard(package).service_uuid
            instance = gatekeeper.start()
            up.until(lambda: f"  small ({instance})" in up.lines)
            gatekeeper.stop()
            up.until(lambda: up.lines[-1] == "nothing is deployed")
        assert f"onboarded small (small.son) as {uuid}" in up.lines
        assert any("fw in pop1: 10.30.0.2, 10.30.1.1" in line for line in up.lines)
        with TestBed.attach("gate-lines") as attached:
            attached.start(package)
            up.until(lambda: up.lines[-1].endswith("container sonemu-gate-lines-fw"))


def test_a_service_is_shown_when_it_is_ready_and_missed_when_it_is_gone(package: Path) -> None:
    with sonemu_up() as up, GatekeeperClient(up.url) as gatekeeper:
        uuid = gatekeeper.onboard(package).service_uuid
        instance = gatekeeper.start(uuid, vnfs={"fw": {"ready": "exec:sleep 1.2"}})
        up.until(lambda: "deployed:" in up.lines)
        assert up.lines.index(f"small runs as {instance}") < up.lines.index("deployed:")
        with TestBed.attach(up.bed) as attached:
            attached.stop(instance)
        # Nobody asks the gatekeeper anything, and it is said all the same.
        up.until(lambda: f"small {instance} was stopped by somebody else" in up.lines)
        up.until(lambda: up.lines[-1] == "nothing is deployed")


def test_an_image_that_cannot_be_had_at_the_start(tmp_path: Path) -> None:
    """What is advised works here, the file is called as it is, and it is all said once."""
    function = vnfd("fw", unit={"vm_image": "file:///docker_files/fw/Dockerfile"})
    content = members(nsd({"fw": "fw"}, {"in": ["input", "fw:input"]}), function)
    content["docker_files/fw/Dockerfile"] = b"FROM sonemu/vnf-base\n"
    package = tmp_path / "built.son"
    package.write_bytes(zipped(content))
    with sonemu_up("--package", str(package), "--start") as up:
        assert up.ended() == 1
        said = "\n".join([*up.errors, *up.lines])
    assert said.count("builds are not allowed here") == 1, said
    assert "--allow-build" in said
    assert "--images FILE" in said
    assert "--sonemu-set" not in said
    assert "/proc/" not in said
    assert "built.son" in said


def test_the_verbs(package: Path) -> None:
    with sonemu_up() as up:
        bed = up.bed

        def say(*arguments: str, status: int = 0) -> str:
            done = sonemu(*arguments)
            assert done.returncode == status, done.stderr
            return done.stdout if status == 0 else done.stderr

        assert "no service is onboarded; there are: none" in say("start", bed, status=1)
        service = say("push", bed, str(package)).strip()
        assert f"small ({service})" in say("start", bed, "smalll", status=1)
        first = say("start", bed).strip()
        second = say("start", bed, "small").strip()
        third = say("start", bed, service).strip()
        known = json.loads(say("status", bed, "--json"))
        assert [one["uuid"] for one in known["instances"]] == [first, second, third]
        assert known["gatekeeper"] == up.url
        shown = say("status", bed)
        assert all(word in shown for word in (up.url, first, "fw", "link-0", "E-Line"))
        assert "small/fw, small-2/fw, small-3/fw" in say("exec", bed, "fw", "--", "true", status=1)
        assert say("exec", bed, "small-2/fw", "--", "sh", "-c", "echo $VNF_NAME") == "fw\n"
        assert sonemu("exec", bed, f"{first}/fw", "--", "sh", "-c", "exit 7").returncode == 7
        assert say("stop", bed) == f"stopped small-3 ({third})\n"
        assert say("stop", bed, first) == f"stopped small ({first})\n"
        assert say("stop", bed, "small-2") == f"stopped small-2 ({second})\n"
        assert f"nothing runs on bed '{bed}'" in say("stop", bed, status=1)
        assert say("logs", bed, "fw", status=1)


def test_logs(package: Path) -> None:
    with sonemu_up() as up, GatekeeperClient(up.url) as gatekeeper:
        gatekeeper.onboard(package)
        environment = {"SON_EMU_CMD": "echo rules are loaded"}
        gatekeeper.start(vnfs={"fw": {"env": environment, "ready": "log:rules are loaded"}})
        assert "rules are loaded\n" in sonemu("logs", up.bed, "fw").stdout


def test_a_project_folder(tmp_path: Path) -> None:
    project = tmp_path / "project"
    assert sonemu("init", str(project), "--name", "fw").returncode == 0
    with sonemu_up(str(project / "topology.yml"), "--package", str(project), "--start") as up:
        assert [vnf["id"] for vnf in _only_instance(up)["vnfs"]] == ["fw"]
        pushed = sonemu("push", up.bed, str(project))
        assert pushed.returncode == 0, pushed.stderr


def test_images_and_old_names(shared_packages: Path, docker: DockerClient, tmp_path: Path) -> None:
    images = tmp_path / "images.yml"
    images.write_text('"*": sonemu/vnf-base\n')
    package = str(shared_packages / "sonata-snort-service.son")
    with sonemu_up("--images", str(images), "--container-names=mn", "--package", package, "--start") as up:
        assert _only_instance(up)["vnfs"][0]["container"]["name"] == "mn.snort_vnf"
        assert docker.inspect_container("mn.snort_vnf")["State"]["Running"]


@pytest.mark.parametrize("allowed", [False, True])
def test_dockerfiles_are_built_only_if_allowed(tmp_path: Path, docker: DockerClient, allowed: bool) -> None:
    function = vnfd("fw", unit={"vm_image": "file:///docker_files/fw/Dockerfile"})
    content = members(nsd({"fw": "fw"}, {"in": ["input", "fw:input"]}), function)
    content["docker_files/fw/Dockerfile"] = f"FROM sonemu/vnf-base\nLABEL of={tmp_path.name}\n".encode()
    with sonemu_up(*(("--allow-build",) if allowed else ())) as up:
        with GatekeeperClient(up.url) as gatekeeper:
            gatekeeper.onboard_bytes(zipped(content))
        answer = requests.post(f"{up.url}/instantiations", data="{}", timeout=60)
        assert answer.status_code == (201 if allowed else 500)
        if not allowed:
            assert "--allow-build" in answer.json()["detail"]
            return
        image = _only_instance(up)["vnfs"][0]["container"]["image"]
    docker.remove_image(image, force=True)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("no-such.yml",), "no-such.yml"),
        (("--package", "no-such.son"), "no-such.son"),
        (("--images", "no-such.yml"), "no-such.yml"),
        (("--host", "203.0.113.9"), "cannot serve on 203.0.113.9"),
        (("--name", "A bed"), "cannot name a test bed"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_cannot_be(arguments: tuple[str, ...], reason: str) -> None:
    with sonemu_up(*arguments) as up:
        assert up.ended() == 1
        assert reason in "\n".join(up.errors)
        assert "Traceback" not in "\n".join(up.errors)
        assert up.lines == []


def test_a_package_that_is_refused(tmp_path: Path, docker: DockerClient) -> None:
    package = tmp_path / "broken.son"
    package.write_bytes(b"PK")
    with sonemu_up("--name", "gate-refused", "--package", str(package)) as up:
        assert up.ended() == 1
        assert "\n".join(up.errors).count("broken.son cannot be used as a service package") == 1
        assert left(docker, "gate-refused") == []


def test_a_bed_of_a_test_has_no_gatekeeper_to_push_to(package: Path) -> None:
    with TestBed() as bed:
        refused = sonemu("push", bed.name, str(package))
        assert refused.returncode == 1
        assert "was not started by `sonemu up`" in refused.stderr
        assert sonemu("status", bed.name).stdout.startswith(f"bed {bed.name} (pop1)")
        assert sonemu("down", bed.name).returncode == 0


def _only_instance(up: Up) -> dict[str, Any]:
    ((uuid,),) = requests.get(f"{up.url}/instantiations", timeout=10).json()["service_instantiations_list"]
    found: dict[str, Any] = requests.get(f"{up.url}/instantiations/{uuid}", timeout=10).json()
    return found

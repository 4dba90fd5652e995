"""Images chosen, built and pulled by a real Docker, from folders, packages and a registry on loopback."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from pytest_sonemu.descriptors.model import Place, Unit
from pytest_sonemu.emulation.builds import BuildLimits
from pytest_sonemu.emulation.docker_api import DockerClient, inspect_image
from pytest_sonemu.emulation.image_choice import BASE_IMAGE, ImageRequest
from pytest_sonemu.emulation.images import ImageResolver, machine_lock
from pytest_sonemu.errors import ImageError
from tests.one_container.registry import registry, silent_registry

MARK = f"test-{os.getpid()}"


@pytest.fixture
def made(docker_client: DockerClient) -> Iterator[list[str]]:
    """References that the test makes, removed after it."""
    references: list[str] = []
    yield references
    for reference in references:
        if inspect_image(docker_client, reference) is not None:
            docker_client.remove_image(reference, force=True)


def request_of(key: str, image: str | None = None, **options: object) -> ImageRequest:
    return ImageRequest(key, Unit("vdu01", image=image, place=Place("fw.yml", 7)), **options)  # type: ignore[arg-type]


def test_what_is_present_is_chosen_with_what_it_runs(docker_client: DockerClient) -> None:
    chosen = ImageResolver(docker_client).resolve([request_of("fw", BASE_IMAGE)])["fw"]
    assert chosen.reference == BASE_IMAGE
    assert chosen.id.startswith("sha256:")
    assert chosen.command or chosen.entrypoint
    assert chosen.reason == "built here"
    assert not chosen.stand_in


def test_a_folder_is_built_once_and_again_only_when_changed(
    docker_client: DockerClient, tmp_path: Path, made: list[str]
) -> None:
    text = (
        f'FROM {BASE_IMAGE}\nENV SON_EMU_CMD=./start.sh MARK={MARK}\nHEALTHCHECK --timeout=3s CMD ["true"]\n'
    )
    (tmp_path / "Dockerfile").write_text(text + "COPY rules /rules\nUSER 7\nWORKDIR /tmp\n")
    (tmp_path / "rules").write_text("drop")
    lines: list[str] = []
    requests = [request_of("fw", build=tmp_path), request_of("fw2", build=tmp_path)]
    both = ImageResolver(docker_client, lines.append).resolve(requests)
    made.append(both["fw"].reference)
    assert both["fw"].id == both["fw2"].id
    assert both["fw"].reference.startswith("sonemu/build:")
    assert sum(line.startswith("building") for line in lines) == 1
    assert "SON_EMU_CMD=./start.sh" in both["fw"].environment
    assert (both["fw"].user, both["fw"].working_dir) == ("7", "/tmp")
    assert (both["fw"].healthcheck, both["fw"].healthcheck_timeout) == (("CMD", "true"), 3.0)

    lines.clear()
    again = ImageResolver(docker_client, lines.append).resolve([request_of("fw", build=tmp_path)])["fw"]
    assert again.id == both["fw"].id
    assert lines == []

    (tmp_path / "rules").write_text("accept")
    changed = ImageResolver(docker_client, lines.append).resolve([request_of("fw", build=tmp_path)])["fw"]
    made.append(changed.reference)
    assert changed.id != both["fw"].id


def test_a_dockerfile_inside_a_package(docker_client: DockerClient, made: list[str]) -> None:
    files = {"docker_files/fw/Dockerfile": f"FROM {BASE_IMAGE}\nLABEL mark={MARK}\nCOPY x /x\n".encode(),
             "docker_files/fw/x": b"1"}  # fmt: skip
    unit = Unit("vdu01", image="fw:none", context="docker_files/fw")
    chosen = ImageResolver(docker_client).resolve([ImageRequest("fw", unit, files=files)])["fw"]
    made.append(chosen.reference)
    assert chosen.reason == "built from the package's Dockerfile"
    image = inspect_image(docker_client, chosen.reference)
    assert image is not None
    assert image["Config"]["Labels"]["mark"] == MARK


def test_a_build_that_fails_shows_its_output(docker_client: DockerClient, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE_IMAGE}\nRUN echo {MARK} >&2 && exit 3\n")
    with pytest.raises(ImageError, match=f"(?s)VNF 'fw'.*fw.yml:7.*code: 3.*{MARK}"):
        ImageResolver(docker_client).resolve([request_of("fw", build=tmp_path)])


def test_a_build_has_a_time_limit(docker_client: DockerClient, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE_IMAGE}\nRUN echo {MARK} && sleep 60\n")
    start = time.monotonic()
    with pytest.raises(ImageError, match="not done after 3 s"):
        ImageResolver(docker_client, limits=BuildLimits(seconds=3)).resolve(
            [request_of("fw", build=tmp_path)]
        )
    assert time.monotonic() - start < 10


def test_a_build_may_be_cut_off_from_the_network(
    docker_client: DockerClient, tmp_path: Path, made: list[str]
) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {BASE_IMAGE}\nRUN echo {MARK} && ls /sys/class/net >/interfaces\n"
    )
    limits = BuildLimits(network="none")
    chosen = ImageResolver(docker_client, limits=limits).resolve([request_of("fw", build=tmp_path)])["fw"]
    made.append(chosen.reference)
    container = docker_client.create_container(
        chosen.id, labels={"sonemu.testbed": MARK}, network_disabled=True
    )
    try:
        stream, _ = docker_client.get_archive(container["Id"], "/interfaces")
        content = b"".join(stream)
    finally:
        docker_client.remove_container(container["Id"], force=True)
    assert b"lo\n" in content
    assert b"eth0" not in content


def test_an_image_is_pulled_once_for_all_who_want_it(docker_client: DockerClient, made: list[str]) -> None:
    with registry(command=["/hello"]) as server:
        reference = f"{server.host}/{MARK}:1"
        made.append(reference)
        chosen = ImageResolver(docker_client).resolve([request_of(key, reference) for key in "abcd"])
    assert {choice.reason for choice in chosen.values()} == {"pulled"}
    assert chosen["a"].command == ("/hello",)
    assert server.manifests <= 2  # Docker itself asks for a manifest by tag and by digest


def test_a_silent_registry_costs_no_more_than_its_time(docker_client: DockerClient) -> None:
    with silent_registry() as one, silent_registry() as two:
        requests = [request_of("a", f"{one}/x:1"), request_of("b", f"{two}/x:1")]
        start = time.monotonic()
        with pytest.raises(ImageError, match="did not answer within 2 s") as caught:
            ImageResolver(docker_client, pull_first=2.0).resolve(requests)
        assert time.monotonic() - start < 4
    assert "2 images cannot be had" in str(caught.value)
    assert "--sonemu-set 'a.image=" in str(caught.value)
    assert "--sonemu-set 'b.image=" in str(caught.value)


def test_an_image_for_another_machine_is_named(docker_client: DockerClient, made: list[str]) -> None:
    with registry(architecture="s390x", command=["/hello"]) as server:
        made.append(f"{server.host}/{MARK}-s390x:1")
        with pytest.raises(ImageError, match="is for s390x, and this machine is"):
            ImageResolver(docker_client).resolve([request_of("fw", made[0])])


def test_an_image_with_nothing_to_run_is_an_error(docker_client: DockerClient, made: list[str]) -> None:
    with registry(command=None) as server:
        made.append(f"{server.host}/{MARK}-empty:1")
        with pytest.raises(ImageError, match="neither ENTRYPOINT nor CMD"):
            ImageResolver(docker_client).resolve([request_of("fw", made[0])])
        chosen = ImageResolver(docker_client).resolve([request_of("fw", made[0], command=("/hello",))])
    assert chosen["fw"].command == ()


def test_ours_is_never_pulled(docker_client: DockerClient, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM sonemu/no-such-image\n")
    requests = [request_of("a", "sonemu/no-such-image:1"), request_of("b", build=tmp_path)]
    with pytest.raises(ImageError) as caught:
        ImageResolver(docker_client).resolve(requests)
    assert str(caught.value).count("never pulled") == 2


def test_prepare_keeps_good_services_apart_from_bad_ones(docker_client: DockerClient, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    services = {"good": [request_of("fw", BASE_IMAGE)], "bad": [request_of("fw", "TBD")]}
    prepared = ImageResolver(docker_client).prepare(services, lock=lock)
    assert isinstance(prepared["bad"], ImageError)
    good = prepared["good"]
    assert isinstance(good, dict)
    assert good["fw"].reference == BASE_IMAGE


def test_one_process_prepares_while_others_wait(docker_client: DockerClient, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    services = {"s": [request_of("fw", BASE_IMAGE)]}
    done: list[float] = []

    def prepare() -> None:
        ImageResolver(docker_client).prepare(services, lock=lock)
        done.append(time.monotonic())

    with machine_lock(lock):
        thread = Thread(target=prepare)
        thread.start()
        thread.join(0.5)
        assert done == []
        freed = time.monotonic()
    thread.join(10)
    assert done
    assert done[0] > freed


def test_what_could_not_be_pulled_is_not_tried_again_in_one_session(
    docker_client: DockerClient, tmp_path: Path
) -> None:
    with silent_registry() as host:
        services = {"s": [request_of("fw", f"{host}/x:1")]}
        first = ImageResolver(docker_client, pull_first=1.0)
        assert isinstance(first.prepare(services, session="run-1", lock=tmp_path / "lock")["s"], ImageError)
        start = time.monotonic()
        second = ImageResolver(docker_client, pull_first=1.0)
        again = second.prepare(services, session="run-1", lock=tmp_path / "lock")["s"]
        assert "did not answer" in str(again)
        assert time.monotonic() - start < 0.7
        assert isinstance(second.prepare(services, session="run-2", lock=tmp_path / "lock")["s"], ImageError)

"""Which image wins, decided without Docker (ruling 18)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_sonemu.descriptors.model import Unit
from pytest_sonemu.emulation.builds import BuildLimits, archive_context, base_images, folder_context, tag_of
from pytest_sonemu.emulation.image_choice import ImageRequest, Refused, choose, problem_of
from pytest_sonemu.errors import ImageError

OWN = "sonatanfv/fw:1"


def request_of(image: str | None = OWN, *, image_format: str = "docker", **options: Any) -> ImageRequest:
    unit = Unit("vdu01", image=image, image_format=image_format, context=options.pop("context", None))
    return ImageRequest("fw", unit, **options)


@pytest.mark.parametrize(
    ("request_", "local", "way", "target", "stand_in"),
    [
        (request_of(image="x:1", image_map={OWN: "y:1"}), {"x:1"}, "local", "x:1", False),
        (request_of(image_map={OWN: "y:1"}), {OWN, "y:1"}, "local", "y:1", True),
        (request_of(image_map={OWN: "y:1"}), {OWN}, "pull", "y:1", True),
        (request_of(image_map={"*": "sonemu/vnf-base"}), {OWN}, "local", OWN, False),
        (request_of(image_map={"sonatanfv/*": "sonemu/vnf-base"}), set(), "base", "sonemu/vnf-base", True),
        (request_of(context="docker_files/fw", image_map={"*": "y:1"}), {"y:1"}, "local", "y:1", True),
        (request_of(context="docker_files/fw"), set(), "archive", "docker_files/fw", False),
        (request_of(context="docker_files/fw"), {OWN}, "local", OWN, False),
        (request_of(), set(), "pull", OWN, False),
        (request_of("fw", image_map={"fw:latest": "y:1"}), {"y:1"}, "local", "y:1", True),
        (request_of("a.qcow2", image_format="qcow2", image_map={"*": "y:1"}), {"y:1"}, "local", "y:1", True),
        (request_of(build=Path("/src/fw"), image_map={"*": "y:1"}), {"y:1", OWN}, "folder", "/src/fw", False),
        (request_of("sonemu/vnf-base"), {"sonemu/vnf-base"}, "base", "sonemu/vnf-base", False),
    ],
)  # fmt: skip
def test_the_order_of_choice(
    request_: ImageRequest, local: set[str], way: str, target: str, stand_in: bool
) -> None:
    want = choose(request_, local.__contains__)
    assert (want.way, want.target, want.stand_in) == (way, target, stand_in)


def test_an_image_set_by_name_beats_all_else() -> None:
    chosen = choose(
        ImageRequest("fw", Unit("vdu01", image=OWN), image="fw:dev", image_map={OWN: "y:1", "*": "z:1"}),
        {"fw:dev", OWN, "y:1"}.__contains__,
    )
    assert (chosen.way, chosen.target, chosen.stand_in) == ("local", "fw:dev", False)
    assert "'fw'" in chosen.reason


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (request_of("disk", image_format="qcow2"), "virtual machine"),
        (request_of(None), "names no image"),
        (request_of("TBD"), "placeholder"),
        (request_of("http://registry.example:5000/x"), "'registry.example:5000/x'"),
        (request_of("ubuntu.img"), "virtual machine's disk"),
        (request_of("Sonatanfv/FW"), "lower case only: 'sonatanfv/fw'"),
        (request_of("sonemu/nothing:1"), "never pulled"),
        (request_of("file:///docker_files/x/Dockerfile"), "not in the package"),
    ],
)
def test_what_can_never_be_had_is_named(request_: ImageRequest, said: str) -> None:
    with pytest.raises(Refused, match=said):
        choose(request_, lambda reference: False)


def test_a_build_that_is_not_allowed_is_refused() -> None:
    with pytest.raises(Refused, match="not allowed"):
        choose(request_of(context="docker_files/fw"), lambda reference: False, allow_build=False)


@pytest.mark.parametrize(
    "reference", ["a", "a:1", "a/b/c:1", "r.example:5000/a/b:1", "localhost/a", "127.0.0.1:5000/a"]
)
def test_sound_references_have_no_problem(reference: str) -> None:
    assert problem_of(reference) is None


def test_base_images_of_a_dockerfile() -> None:
    text = (
        "# FROM nothing\nARG BASE=debian\nARG TAG\nFROM --platform=linux/amd64 ${BASE}:${TAG:-12} AS one\n"
        "RUN echo \\\n  FROM x\nFROM one AS two\nfrom scratch\nFROM sonemu/vnf-base\nCOPY --from=two / /\n"
    )
    assert base_images(text) == ("debian:12", "sonemu/vnf-base")


def test_a_context_is_named_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "rules").write_text("drop")
    (tmp_path / "junk.log").write_text("1")
    (tmp_path / ".dockerignore").write_text("*.log\n")

    def tag(*base_ids: str) -> str:
        context = folder_context(tmp_path)
        with context.archive:
            return tag_of(context, base_ids, BuildLimits())

    first = tag()
    (tmp_path / "junk.log").write_text("2")
    (tmp_path / "rules").touch()
    assert tag() == first
    assert tag("sha256:other-base") != first
    (tmp_path / "rules").write_text("accept")
    assert tag() != first


def test_a_context_over_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "big").write_bytes(bytes(2000))
    with pytest.raises(ImageError, match="dockerignore"):
        folder_context(tmp_path, limit=1000)


@pytest.mark.parametrize("member", ["docker_files/fw", "/docker_files/fw/", "docker_files/fw/Dockerfile"])
def test_a_context_inside_a_package(member: str) -> None:
    files = {"docker_files/fw/Dockerfile": b"FROM a\nCOPY x /", "docker_files/fw/x": b"1", "other": b"2"}
    with archive_context(files, member).archive as archive:
        content = archive.read()
    assert b"COPY x /" in content
    assert b"other" not in content


def test_a_context_without_dockerfile_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no Dockerfile in"):
        folder_context(tmp_path)
    with pytest.raises(ImageError, match="no a/Dockerfile in the package"):
        archive_context({"a/x": b""}, "a")

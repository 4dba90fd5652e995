"""The recipe of the base image: what its tags depend on, and which package sources it takes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pytest_sonemu.emulation.base_image import RECIPE_FOLDER, Recipe, read_recipe, select_sources
from pytest_sonemu.errors import MachineError


@pytest.fixture
def os_release(tmp_path: Path) -> Path:
    path = tmp_path / "os-release"
    path.write_text('ID=debian\nVERSION_CODENAME="bookworm"\n')
    return path


@pytest.fixture
def recipe(os_release: Path) -> Recipe:
    return read_recipe(RECIPE_FOLDER, os_release)


def test_what_the_tests_and_examples_rely_on_is_in_the_recipe(recipe: Recipe) -> None:
    wanted = {"bash", "iproute2", "iputils-ping", "iperf3", "tcpdump", "netcat-openbsd", "curl", "nftables"}
    assert wanted <= set(recipe.packages)
    assert set(recipe.files) == {"Dockerfile", "sonemu-forward"}
    assert (recipe.distribution, recipe.suite) == ("debian", "bookworm")


def test_a_change_of_our_files_makes_a_new_image_on_the_same_packages(recipe: Recipe) -> None:
    changed = dataclasses.replace(recipe, files={**recipe.files, "sonemu-forward": b"#!/bin/sh\n"})
    assert changed.reference != recipe.reference
    assert changed.rootfs == recipe.rootfs


def test_a_change_of_packages_or_suite_makes_all_new(recipe: Recipe) -> None:
    for changed in (
        dataclasses.replace(recipe, packages=(*recipe.packages, "squid")),
        dataclasses.replace(recipe, suite="trixie"),
    ):
        assert changed.reference != recipe.reference
        assert changed.rootfs != recipe.rootfs


def test_bytes_do_not_move_between_name_and_content(recipe: Recipe) -> None:
    one = dataclasses.replace(recipe, files={"ab": b"c"})
    other = dataclasses.replace(recipe, files={"a": b"bc"})
    assert one.reference != other.reference


def test_another_distribution_is_told_how_to_get_the_image(tmp_path: Path) -> None:
    os_release = tmp_path / "os-release"
    os_release.write_text("ID=fedora\nVERSION_CODENAME=\n")
    with pytest.raises(MachineError, match=r"runs fedora.*docker load"):
        read_recipe(RECIPE_FOLDER, os_release)


def test_only_the_distributions_own_sources_are_taken() -> None:
    listing = "\n".join(
        [
            "http://deb.debian.org/debian/|bookworm|main|Debian",
            "http://deb.debian.org/debian/|bookworm|main|Debian",  # once for each architecture
            "http://deb.debian.org/debian/|bookworm|non-free|Debian",
            "http://deb.debian.org/debian/|bookworm-backports|main|Debian Backports",
            "http://deb.debian.org/debian/|bookworm-proposed-updates|main|Debian",
            "http://deb.debian.org/debian-security/|bookworm-security|main|Debian",
            "https://deb.nodesource.com/node_20.x/|nodistro|main|. nodistro",
            "cdrom:[Debian 12]/|bookworm|main|Debian",
            "http://example.net/not-yet-fetched/|bookworm|main|",
        ]
    )
    assert select_sources(listing, "debian") == [
        "deb http://deb.debian.org/debian/ bookworm main",
        "deb http://deb.debian.org/debian-security/ bookworm-security main",
    ]

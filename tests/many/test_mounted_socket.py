"""The recipe of docs/ci.md: a job in a container, with the machine's Docker socket."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SCRIPT = """
from pytest_sonemu import NetworkFunction, NetworkService, TestBed
with TestBed() as bed:
    chain = NetworkService.chain("in", NetworkFunction("fw", image="sonemu/vnf-base"), "out")
    service = bed.start(chain)
    assert service.ping("in", "out").loss == 0
    service.vnf("fw").restart()
    print(service.connect("in", "out", tcp=80, listen=True).outcome)
"""
RIGHTS = ("--pid=host", "--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN")


def run(*rights: str) -> subprocess.CompletedProcess[str]:
    places = {PROJECT, Path(sys.prefix), Path(sys.base_prefix)}
    mounts = [f"-v{place}:{place}" for place in sorted(places)]
    return subprocess.run(
        [
            *("docker", "run", "--rm", *rights, "-v/var/run/docker.sock:/var/run/docker.sock"),
            *("-v/run/sonemu:/run/sonemu", *mounts, "-w/tmp", "sonemu/vnf-base"),
            *(sys.executable, "-B", "-c", SCRIPT),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(autouse=True)
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("the job in the container is root's, and mounts root's folders")
    Path("/run/sonemu").mkdir(exist_ok=True)


def test_the_recipe_is_that_of_the_page() -> None:
    page = " ".join((PROJECT / "docs/ci.md").read_text().split())
    assert f"docker run --rm {' '.join(RIGHTS)} \\" in page


def test_a_bed_runs_in_a_container_with_just_these_rights() -> None:
    done = run(*RIGHTS)
    assert (done.returncode, done.stdout) == (0, "open\n"), done.stderr


def test_without_the_machines_process_ids_it_says_so() -> None:
    done = run(*(right for right in RIGHTS if right != "--pid=host"))
    assert done.returncode != 0
    assert "start it with --pid=host" in done.stderr.splitlines()[-1]

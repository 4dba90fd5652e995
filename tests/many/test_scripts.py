"""Without pytest: a plain script, and a second process that attaches to a bed of the first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import docker
import pytest

from pytest_sonemu import Service, TestBed

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "example_packages"


def run_script(name: str, *arguments: str) -> str:
    """Run a script of the docs as a process of its own; its output, if it ended well."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / name), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_a_plain_script() -> None:
    output = run_script("library_example.py")
    assert "hello from server" in output
    assert "<dropped: tcp input -> server" in output
    assert "tcp dport 80 accept" in output
    name = output.removeprefix("<TestBed ").partition(":")[0]
    assert name
    assert containers_of(name) == []


def containers_of(bed: str) -> list[str]:
    client = docker.DockerClient.from_env()
    try:
        found = client.containers.list(all=True, filters={"label": f"sonemu.testbed={bed}"})
        return [str(container.name) for container in found]
    finally:
        client.close()


@pytest.mark.sonemu(package=EXAMPLES / "firewall", topology=EXAMPLES / "firewall/two-pops.yml")
def test_attach_from_a_second_process(service: Service, testbed: TestBed) -> None:
    assert service.ping("input", "server").loss == 0
    before = service.link("inside").stats().packets
    first, *links = run_script("attach_example.py", testbed.name).splitlines()
    assert first == f"{service.id}: fw, server"
    counts = {link.split()[0]: int(link.split()[1]) for link in links}
    assert counts.keys() == {"outside:", "inside:"}
    # It was this very service.
    assert 6 <= before <= counts["inside:"] <= service.link("inside").stats().packets
    assert service.sap("input").http("http://server/").ok  # and it lives on

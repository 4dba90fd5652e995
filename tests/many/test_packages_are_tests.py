"""`pytest my-service.son` on real beds: what holds passes, and what is broken is what fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from pytest_sonemu.emulation.client import beds
from tests.pure.sharing.conftest import plugin_args

ROOT = Path(__file__).parents[2]
FIREWALL = ROOT / "example_packages/firewall"
STAND_INS = ("--sonemu-set", "*.image=sonemu/vnf-base")
POLICY = """
policy:
  - {from: input, to: server, proto: tcp, port: 80, verdict: allow}
  - {from: input, to: server, proto: tcp, port: 23, verdict: deny}
  - {from: input, to: server, proto: udp, port: 53, verdict: drop}
  - {from: input, to: server, proto: icmp, verdict: allow}
"""


class Runs:
    """A folder in which pytest is run as a person would run it; outcomes by the items' names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "pytest.ini").write_text("[pytest]\n")
        self.text = ""
        self.status = 0

    def __call__(self, *arguments: str) -> dict[str, str]:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-p", "no:asyncio", *plugin_args()),
                *("--junitxml=report.xml", "-rs", *arguments),
            ],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        self.text, self.status = done.stdout + done.stderr, done.returncode
        cases = ET.parse(self.folder / "report.xml").iter("testcase")
        return {
            case.attrib["name"]: next((each.tag for each in case if each.tag in FATES), "passed")
            for case in cases
        }


FATES = ("failure", "error", "skipped")


@pytest.fixture
def run(tmp_path: Path) -> Runs:
    folder = tmp_path / f"pkg{os.getpid()}"
    folder.mkdir()
    return Runs(folder)


@pytest.fixture
def firewall(run: Runs) -> Path:
    shutil.copytree(FIREWALL, run.folder / "firewall", ignore=shutil.ignore_patterns("test_*", "__pycache__"))
    return run.folder / "firewall"


def test_the_firewall_with_its_policy(run: Runs, firewall: Path) -> None:
    with (firewall / "sonemu.yml").open("a") as options:
        options.write(POLICY)
    assert run("firewall") == dict.fromkeys(
        [
            *("valid", "images", "starts", "link:outside", "link:inside", "isolation", "limits"),
            *(
                "policy:input-server-tcp-80-allow",
                "policy:input-server-tcp-23-deny",
                "policy:input-server-udp-53-drop",
                "policy:input-server-icmp-allow",
            ),
            *("path:web-in", "stays-up", "stops"),
        ],
        "passed",
    ), run.text
    assert [entry.name for entry in beds() if entry.name.startswith(run.folder.name)] == []


def test_a_broken_firewall_fails_where_it_is_broken(run: Runs, firewall: Path) -> None:
    with (firewall / "sonemu.yml").open("a") as options:
        options.write(POLICY.replace("tcp, port: 80, verdict: allow", "tcp, port: 80, verdict: deny"))
    outcomes = run("firewall/project.yml", "-k", "policy or stays", "--sonemu-set", "server.settle=0s")
    assert outcomes == {
        "policy:input-server-tcp-80-deny": "failure",
        "policy:input-server-tcp-23-deny": "passed",
        "policy:input-server-udp-53-drop": "passed",
        "policy:input-server-icmp-allow": "passed",
        "stays-up": "passed",
    }, run.text
    assert "the policy has 'deny' for input server tcp 80: <open: tcp input -> server" in run.text
    assert "Traceback" not in run.text
    # Only that one again.
    assert list(run("firewall/project.yml", "--lf")) == ["policy:input-server-tcp-80-deny"], run.text


def test_links_that_leak(run: Runs, firewall: Path) -> None:
    (firewall / "sonemu.yml").write_text(
        """
vnfs:
  fw: {image: sonemu/vnf-base, command: [sonemu-forward, bridge, input, output]}
  server: {image: sonemu/vnf-base, command: [sleep, "600"]}
"""
    )
    outcomes = run("firewall", "-k", "link or isolation")
    assert outcomes["isolation"] == "failure", run.text
    assert "a broadcast sent at input was seen at server:data, on a link of others" in run.text
    assert outcomes["link:outside"] == outcomes["link:inside"] == "passed", run.text


def test_a_vnf_that_falls_over(run: Runs, firewall: Path) -> None:
    (firewall / "sonemu.yml").write_text(
        """
vnfs:
  server: {image: sonemu/vnf-base, command: [sh, -c, "echo out of ideas; sleep 1; exit 3"], settle: 0s}
"""
    )
    assert run("firewall", "-k", "stays")["stays-up"] == "failure", run.text
    assert "server is exited with 3\n    out of ideas" in run.text


def test_what_cannot_start_is_said_once(run: Runs, firewall: Path) -> None:
    (firewall / "sonemu.yml").write_text("vnfs: {fw: {image: 'registry.invalid/none:1'}}\n")
    outcomes = run("firewall")
    assert outcomes.pop("images") == "failure", run.text
    assert outcomes.pop("valid") == "passed"
    assert set(outcomes.values()) == {"skipped"}
    assert "same cause as in firewall/project.yml::images" in run.text
    assert "Traceback" not in run.text


@pytest.mark.parametrize(
    ("package", "links", "options"),
    [
        ("sonata-snort-service.son", ["mgmt", "link-input", "link-output"], ()),
        ("sonata-stress-service.son", [], ()),
        (
            "sonata-empty-service.son",
            ["mgmt", "link-input", "link-12", "link-23", "link-output"],
            ("-n", "2", "--dist", "loadfile"),
        ),
    ],
)
def test_real_packages(
    run: Runs, shared_packages: Path, package: str, links: list[str], options: tuple[str, ...]
) -> None:
    shutil.copy(shared_packages / package, run.folder)
    outcomes = run(package, *STAND_INS, *options)
    paths = {name: outcomes.pop(name) for name in list(outcomes) if name.startswith("path:")}
    assert run.status == 0, run.text
    assert {name for name in outcomes if name.startswith("link:")} == {f"link:{link}" for link in links}
    assert set(outcomes.values()) == {"passed"}
    assert set(paths.values()) <= {"skipped"}
    assert not paths or "sonemu/vnf-base stands in for the image of" in run.text

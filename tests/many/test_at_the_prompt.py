"""A failed test to look at: at pdb's prompt, and on a bed that is kept; nothing is undone in either."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.sonemu_up import sonemu

SUITE = """
import pytest
from pytest_sonemu import NetworkFunction, NetworkService

CHAIN = NetworkService.chain("input", NetworkFunction("fw", image="sonemu/vnf-base"), "output", name="chain")

@pytest.mark.sonemu(package=CHAIN)
def test_that_fails(service):
    fw = service.vnf("fw")
    fw.sysctl("net.ipv4.ip_forward", 0)
    assert service.connect("input", "output", tcp=80, listen=True).outcome == "open"
"""


def run(folder: Path, *options: str, stdin: str = "") -> str:
    (folder / "test_suite.py").write_text(SUITE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, "test_suite.py"],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


def test_at_the_prompt_of_pdb_nothing_is_undone(tmp_path: Path) -> None:
    typed = 'p ("forwards", fw.sysctl("net.ipv4.ip_forward"), service.ping("input", "fw:input").loss)\nq\n'
    told = run(tmp_path, "--pdb", stdin=typed)
    assert "('forwards', '0', 0.0)" in told, told
    assert "sonemu: what happened" in told


def test_a_kept_bed_is_as_the_test_left_it(tmp_path: Path) -> None:
    told = run(tmp_path, "--sonemu-keep=on-failure")
    found = re.search(r"kept for 2 hours as it is: TestBed.attach\('(\S+)'\)", told)
    assert found is not None, told
    bed = found[1]
    try:
        read = sonemu("exec", bed, "fw", "--", "cat", "/proc/sys/net/ipv4/ip_forward")
        assert (read.returncode, read.stdout) == (0, "0\n")
        lost = sonemu("trace", bed, "input", "output", "--tcp", "80")
        assert (lost.returncode, "not out of fw" in lost.stdout) == (1, True)
    finally:
        assert sonemu("down", bed).returncode == 0
    assert bed not in sonemu("ps").stdout

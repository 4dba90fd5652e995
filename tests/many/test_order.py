"""Tests that change a VNF at will give the same results in any order, and not without the undo."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import pytest
from pytest_sonemu import NetworkFunction, NetworkService

CHAIN = NetworkService.chain(
    "input", NetworkFunction("fw", image="sonemu/vnf-base"), NetworkFunction("web", image="sonemu/vnf-base",
    interfaces=["data"], command=["python3", "-m", "http.server", "--bind", "0.0.0.0", "80"]))
pytestmark = pytest.mark.sonemu(package=CHAIN, vnfs={"web": {"ready": ["80"]}})
DROP = "'{ type filter hook forward priority 0; policy drop; }'"

def check(service):
    \"\"\"What holds for an instance as it was started.\"\"\"
    fw, web = service.vnf("fw"), service.vnf("web")
    assert service.connect("input", "web", tcp=80).outcome == "open"
    assert (fw.state.phase, web.state.phase) == ("running", "running")
    assert fw.sysctl("net.ipv4.ip_forward") == "1"
    assert fw.exec("nft list ruleset; ls /etc/mark; pgrep sleep").stdout == ""
    assert fw.read_text("/etc/motd") != "mine"
    assert all(interface.up for vnf in (fw, web) for interface in vnf.interfaces)
    assert service.ping("input", "web", count=2).rtt.median < 0.1

def test_a_rule(service):
    check(service)
    service.vnf("fw").exec(f"nft add table ip t; nft add chain ip t c {DROP}", check=True)
    assert service.connect("input", "web", tcp=80, timeout=0.3).outcome == "dropped"

def test_a_route(service):
    check(service)
    service.vnf("fw").exec("ip route add blackhole 10.30.0.2", check=True)
    assert service.connect("input", "web", tcp=80, timeout=0.3).outcome != "open"

def test_a_routing_rule(service):
    check(service)
    service.vnf("fw").exec("ip rule add pref 9 blackhole", check=True)
    assert service.connect("input", "web", tcp=80, timeout=0.3).outcome != "open"

def test_an_impaired_link(service):
    check(service)
    service.link("link-2").schedule([(0, {"delay": "150ms"})])
    service.vnf("fw").wait_until(lambda _: service.ping("input", "web", count=1).rtt.median > 0.25, timeout=5)

def test_a_pulled_interface(service):
    check(service)
    service.vnf("fw").interface("output").down()
    assert service.connect("input", "web", tcp=80, timeout=0.3).outcome != "open"

def test_a_link_down(service):
    check(service)
    service.link("link-1").down()
    assert service.connect("input", "web", tcp=80, timeout=0.3).outcome != "open"

def test_a_link_that_loses_all(service):
    check(service)
    service.link("link-2").down(carrier=False)
    assert service.connect("input", "web", tcp=80, timeout=0.3).outcome != "open"

def test_an_interface_unplugged_inside(service):
    check(service)
    service.vnf("fw").exec("ip link set output down", check=True)
    assert service.connect("input", "web", tcp=80, timeout=0.3).outcome != "open"

def test_a_restart_without_its_rules(service):
    check(service)
    service.vnf("fw").exec(f"nft add table ip t; nft add chain ip t c {DROP}", check=True)
    service.vnf("fw").restart()

def test_a_file(service):
    check(service)
    service.vnf("fw").put("x", "/etc/mark")
    service.vnf("fw").put("mine", "/etc/motd")

def test_a_process(service):
    check(service)
    service.vnf("fw").exec("sleep 500 > /dev/null 2>&1 &", check=True)

def test_a_spawned_process(service):
    check(service)
    service.vnf("fw").spawn("sleep 500")

def test_a_stopped_server(service):
    check(service)
    service.vnf("web").stop()
    assert service.connect("input", "web", tcp=80, timeout=0.3).outcome != "open"

def test_a_killed_firewall(service):
    check(service)
    service.vnf("fw").kill()
    assert service.connect("input", "web", tcp=80, timeout=0.3).outcome != "open"

def test_a_paused_server(service):
    check(service)
    service.vnf("web").pause()

def test_no_forwarding(service):
    check(service)
    service.vnf("fw").sysctl("net.ipv4.ip_forward", 0)
    assert service.connect("input", "web", tcp=80, timeout=0.3).outcome == "dropped"

def test_a_crash(service):
    check(service)
    service.vnf("web").container.kill()
    assert service.connect("input", "web", tcp=80, timeout=0.3).outcome != "open"

def test_only_looking(service):
    check(service)
"""

WITHOUT_UNDO = """
import pytest
from pytest_sonemu.handles.core import InstanceCore
from pytest_sonemu.handles.undo import UndoStack

def pytest_configure():
    UndoStack.close = lambda self: ()
    InstanceCore.settle = lambda self: None
"""


PAIR = """
@pytest.mark.sonemu(scope="class")
class Test_{name}:
    def test_change(self, service):
        {name}(service)

    def test_look(self, service):
        check(service)
"""


def results(folder: Path, names: list[str]) -> dict[str, str]:
    """Test -> outcome, run in this order."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "--tb=short"]
        + [f"test_suite.py::{name}" for name in names],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    rows = re.findall(r"^(PASSED|FAILED|ERROR) test_suite.py::([\w:]+)", done.stdout, re.MULTILINE)
    assert rows, done.stdout + done.stderr
    return {name: outcome for outcome, name in rows}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


NAMES = re.findall(r"^def (test_\w+)", SUITE, re.MULTILINE)
ORDERS = {
    "file order": NAMES,
    "reversed": NAMES[::-1],
    "random": random.Random(5).sample(NAMES, len(NAMES)),
}
# What changes nothing that could be seen after it.
HARMLESS = {"test_only_looking", "test_a_restart_without_its_rules"}


@pytest.mark.parametrize("order", ORDERS)
def test_any_order_gives_the_same(folder: Path, order: str) -> None:
    assert results(folder, ORDERS[order]) == dict.fromkeys(NAMES, "PASSED")


def test_without_the_undo_each_change_alone_is_seen_by_the_next_test(folder: Path) -> None:
    """So the undo is what makes tests pass in any order, and each of the changes needs it."""
    suite = folder / "test_suite.py"
    harmful = [name for name in NAMES if name not in HARMLESS]
    pairs = "".join(PAIR.format(name=name) for name in harmful)
    suite.write_text(SUITE + pairs)
    (folder / "conftest.py").write_text(WITHOUT_UNDO)
    outcomes = results(folder, [f"Test_{name}" for name in harmful])
    assert outcomes == {
        f"Test_{name}::{test}": outcome
        for name in harmful
        for test, outcome in (("test_change", "PASSED"), ("test_look", "FAILED"))
    }

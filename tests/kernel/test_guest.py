"""The guest is what it should be: another kernel, with the modules that the machine's own may lack."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel


def test_it_is_another_kernel(machine_kernel: str) -> None:
    assert platform.release() != machine_kernel
    assert Path("/lib/modules", platform.release(), "modules.dep").exists()


@pytest.mark.parametrize("module", ["sch_netem", "openvswitch", "cls_u32", "8021q", "br_netfilter"])
def test_stock_kernels_have_this_module(module: str) -> None:
    subprocess.run(["modprobe", module], check=True, timeout=60)
    loaded = Path("/proc/modules").read_text().splitlines()
    assert module in {line.split()[0] for line in loaded}


def test_control_groups_are_version_2() -> None:
    there = Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
    assert {"cpu", "cpuset", "memory", "pids"} <= set(there)


def test_the_machines_root_cannot_be_written() -> None:
    """The guest sees an overlay; the share below it takes no writes (QEMU's, not only the mount's)."""
    lines = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    roots = [words[2] for words in lines if words[1] == "/"]
    assert roots[-1] == "overlay"
    assert not [words for words in lines if words[2] == "9p" and "rw" in words[3].split(",")]


def test_doctor_finds_all_that_links_need() -> None:
    argv = [str(Path(sys.executable).with_name("sonemu")), "doctor", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=180, check=False)
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert os.uname().release in checks["system"]["detail"]
    assert checks["control groups"]["detail"] == "version 2"
    for name in ("veth pairs", "bridges", "E-Line redirects", "IPv6", "iproute2"):
        assert checks[name]["state"] == "ok", checks[name]

"""What an install from a wheel carries: the hold above all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if int(version("setuptools").partition(".")[0]) < 77:
        pytest.skip("setuptools is older than the build needs; `make setup` brings a newer one")
    source, target = tmp_path_factory.mktemp("source") / "project", tmp_path_factory.mktemp("wheel")
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "LICENSE", "README.md"):
        if (PROJECT / name).exists():
            shutil.copy(PROJECT / name, source)
    left_out = shutil.ignore_patterns("__pycache__", "hold", "libcore.so")
    shutil.copytree(PROJECT / "pytest_sonemu", source / "pytest_sonemu", ignore=left_out)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(target), str(source)], check=True, timeout=120)
    (made,) = target.iterdir()
    return made


def test_it_is_for_this_kind_of_machine_and_every_python_3(wheel: Path) -> None:
    assert wheel.name.startswith("pytest_sonemu-")
    assert f"-py3-none-linux_{os.uname().machine}.whl" in wheel.name


def test_it_carries_an_executable_hold_that_works(wheel: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(tmp_path),
        str(wheel),
    ]
    subprocess.run(command, check=True, timeout=120)
    hold = tmp_path / "pytest_sonemu" / "emulation" / "hold"
    done = subprocess.run([hold], check=False, capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stderr) == (125, "hold: usage: hold FIFO ARGV... | hold FIFO --wait\n")


def test_it_carries_the_relay_s_core(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("pytest_sonemu/relay/libcore.so")[:4] == b"\x7fELF"


def test_it_carries_the_recipe_of_the_base_image_and_its_type_marker(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for name in ("py.typed", "images/vnf-base/Dockerfile", "images/vnf-base/packages.txt"):
        assert f"pytest_sonemu/{name}" in names
    assert "pytest_sonemu/images/vnf-base/sonemu-forward" in names
    assert not {name for name in names if name.startswith("tests/")}

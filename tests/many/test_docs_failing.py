"""The report of a failure on its page is what such a test really shows; `REWRITE=1` writes it anew."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.normalised import normalised

ROOT = Path(__file__).parents[2]
PAGE, PICTURE = ROOT / "docs" / "failing.md", ROOT / "docs" / "failing.svg"

SUITE = """
import pytest

from pytest_sonemu import Service

pytestmark = pytest.mark.sonemu(topology="firewall/two-pops.yml", package="firewall")


def test_the_web_is_reachable(service: Service) -> None:
    assert service.sap("input").http("http://server/").status_code == 200


def test_the_new_rules(service: Service) -> None:
    service.vnf("fw").exec("nft insert rule inet firewall forward tcp dport 80 drop", check=True)
    with service.link("outside").impair(delay="10ms"):
        assert service.ping("input", "server").loss == 0
        trace = service.trace("input", "server:data", tcp=80)
    assert trace.hops == ["fw:input", "fw:output", "server:data"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules")
    shutil.copytree(ROOT / "example_packages" / "firewall", folder / "firewall")
    (folder / "test_rules.py").write_text(SUITE.lstrip())
    (folder / "pytest.ini").write_text("[pytest]\n")
    return folder


@pytest.fixture(scope="module")
def output(folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--sonemu-seed=7", "test_rules.py"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert done.returncode == 1, done.stdout + done.stderr
    shown = done.stdout[done.stdout.index("= FAILURES =") :].partition("\n")[2]
    return shown[: shown.index("\n====")].rstrip()


def test_the_report_on_the_page_is_the_real_one(output: str) -> None:
    page = PAGE.read_text()
    (shown,) = re.findall(r"```text\n(.*?)\n```", page, re.DOTALL)
    if os.environ.get("REWRITE"):
        PAGE.write_text(page.replace(shown, output))
        return
    assert normalised(shown) == normalised(output)


def test_the_picture_on_the_page_is_the_real_one(folder: Path, output: str) -> None:
    (picture,) = folder.glob("sonemu-artifacts/*/firewall.svg")
    if os.environ.get("REWRITE"):
        PICTURE.write_text(re.sub(r" on \S+</title>", " on a bed</title>", picture.read_text()))
        return
    drop = re.compile(r"<title>.*?</title>", re.DOTALL)
    assert drop.sub("", PICTURE.read_text()) == drop.sub("", picture.read_text())


def test_the_artifacts_on_the_page_are_there(folder: Path, output: str) -> None:
    listed = set(re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(), re.MULTILINE))
    (place,) = folder.glob("sonemu-artifacts/*rules")
    files = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
    for name in listed - {"share/<vnf>/"}:
        pattern = name.replace("<instance>", "firewall").replace("<vnf>", "fw").replace("<link>", "outside")
        assert pattern in files, (name, files)

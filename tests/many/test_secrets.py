"""A secret's value is in no output of a run that fails by every route: terminal, junit, HTML, artifacts."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

SECRET = "Zx9!quite\"secret'word & more"
ON_COMMAND_LINE = "from-the-command-line-4711"
# Long enough that no other text has one by chance.
PIECES = (
    "Zx9!quite",
    'quite"secret',
    "secret'word",
    "secret\\'word",
    "word & more",
    "word%20%26",
    ON_COMMAND_LINE,
)

SUITE = """
import logging
import os
import pytest
from pytest_sonemu import NetworkFunction, NetworkService

SECRET = os.environ["THE_SECRET"]
CHAIN = NetworkService.chain("input", NetworkFunction("fw", image="sonemu/vnf-base"), "output", name="chain")
GIVEN = {"fw": {"secrets": {"TOKEN": SECRET}}}
MISTAKEN = {"fw": {"secrets": {"TOKEN": SECRET}, "cpuu": 1}}
NO_IMAGE = {"fw": {"secrets": {"TOKEN": SECRET}, "image": "no.such.host/at/all:1"}}
MARKED = pytest.mark.sonemu(package=CHAIN, vnfs=GIVEN)

@pytest.mark.sonemu(package=CHAIN, vnfs=NO_IMAGE)
def test_a_start_that_fails(service):
    pass

@pytest.mark.sonemu(package=CHAIN, vnfs=MISTAKEN)
def test_an_option_that_does_not_exist(service):
    pass

@pytest.mark.sonemu()
def test_a_start_within_the_test(testbed):
    options = NO_IMAGE
    testbed.start(CHAIN, vnfs=options)

@MARKED
def test_every_route(service, record_property):
    fw = service.vnf("fw")
    print("printed", SECRET)
    logging.getLogger("mine").warning("logged %s", SECRET)
    record_property("mine", {"key": [SECRET]})
    written = fw.exec("echo $TOKEN > /mnt/share/token; echo token is $TOKEN > /proc/1/fd/1; echo $TOKEN")
    fw.exec(["echo", SECRET])
    service.sap("input").run("echo", SECRET)
    other = fw.exec("echo $OTHER")
    local, folded = [SECRET] * 3, repr({"a": repr(SECRET)})
    assert {"out": written.stdout, "other": other.stdout} == {"out": "", "other": ""}

@MARKED
def test_in_an_exception(service):
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        raise ValueError(f"it is {SECRET}") from error

@MARKED
def test_in_bytes_and_urls(service):
    from urllib.parse import quote
    found = (SECRET.encode(), quote(SECRET))
    assert found == ()

def test_without_a_bed():
    unrelated = SECRET
    assert unrelated == ""
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str]:
    """Every file of a failing run but its source, and what the terminal shows."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "test_suite.py").write_text(SUITE)
    (folder / "pytest.ini").write_text("[pytest]\n")
    options = ["-p", "no:cacheprovider", "-n1", "-vv", "--showlocals", "-rA", "--sonemu-missing=error"]
    options += ["--junitxml=junit.xml", "-o", "junit_logging=all"]
    options += ["--html=report.html", "--self-contained-html", "--sonemu-artifacts=always"]
    options += [f"--sonemu-set=fw.secrets.OTHER={ON_COMMAND_LINE}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_suite.py"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        env={**os.environ, "THE_SECRET": SECRET},
    )
    output = done.stdout + done.stderr
    assert "5 failed, 2 errors" in output, output
    found = {Path("terminal"): output}
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            found[path.relative_to(folder)] = path.read_bytes().decode(errors="replace")
    return found


def test_no_secret_is_in_any_output(run: dict[Path, str]) -> None:
    # A capture file has what was on the wire; here nobody sent it over a link.
    leaks = [
        (str(path), piece, text[max(0, text.index(piece) - 200) :][:300])
        for path, text in run.items()
        for piece in PIECES
        if piece in text
    ]
    assert leaks == [], "\n".join(map(str, leaks))


def test_what_the_run_tells_is_there_all_the_same(run: dict[Path, str]) -> None:
    terminal, html = run[Path("terminal")], run[Path("report.html")]
    for text in (terminal, html, run[Path("junit.xml")]):
        assert "***" in text
        assert "sonemu: what happened" in text
        assert "run it again: pytest" in text
    cases = {case.get("name"): case for case in ET.fromstring(run[Path("junit.xml")]).iter("testcase")}
    mine = [
        each.get("value") for each in cases["test_every_route"].iter("property") if each.get("name") == "mine"
    ]
    assert mine == ["{'key': ['***']}"]
    (token,) = (text for path, text in run.items() if "every_route" in str(path) and path.name == "token")
    assert token == "***\n"
    (log,) = (text for path, text in run.items() if "every_route" in str(path) and path.name == "fw.log")
    assert "token is ***" in log

"""A failing run as a person sees it: the story, what is shared, the papers, and no secret anywhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from pytest_sonemu.descriptors.read import read_package
from pytest_sonemu.handles.packets import Tcp, decode
from pytest_sonemu.handles.pcap import Record, read_pcap

SECRET = "Zx9!quite\"secret'word"

SUITE = """
import subprocess
import pytest
from pytest_sonemu import NetworkFunction, NetworkService

CHAIN = NetworkService.chain(
    "input", NetworkFunction("fw", image="sonemu/vnf-base"), NetworkFunction("web", image="sonemu/vnf-base",
    interfaces=["data"], command=["python3", "-m", "http.server", "--bind", "0.0.0.0", "80"]))
pytestmark = pytest.mark.sonemu(
    package=CHAIN, vnfs={"fw": {"secrets": {"TOKEN": %r}}, "web": {"ready": ["80"]}})

def test_first_and_well(service):
    assert service.sap("input").http("http://web/").ok

def test_that_fails(service):
    fw = service.vnf("fw")
    chain = "'{ type filter hook forward priority 0; policy drop; }'"
    fw.exec(f"nft add table ip t; nft add chain ip t c {chain}")
    for _ in range(5):
        service.vnf("web").exec("echo same > /proc/1/fd/1")
    fw.exec("echo figures > /mnt/share/results.csv")
    print(fw.exec("echo $TOKEN").stdout)
    result = service.connect("input", "web", tcp=80, timeout=0.5)
    assert (result.outcome, fw.exec("echo $TOKEN").stdout) == ("open", "")

def test_that_breaks_a_vnf(service):
    service.vnf("web").container.kill()
    service.vnf("fw").wait_until(lambda fw: service.vnf("web").state.phase == "exited", timeout=5)

def test_with_another_instance(service):
    assert service.connect("input", "web", tcp=80).outcome == "open"

def test_stats_are_compared(service):
    before = service.vnf("fw").interface("input").stats
    service.ping("input", "fw:input", count=2)
    assert service.vnf("fw").interface("input").stats == before
"""


def tcp_of(record: Record) -> Tcp | None:
    transport = decode(record.data)[2]
    return transport if isinstance(transport, Tcp) else None


@dataclass(frozen=True)
class Run:
    folder: Path
    output: str
    junit: ET.Element

    def failure(self, test: str) -> str:
        """What the terminal says below the failure of a test."""
        found = re.search(rf"^_+ {test} _+$(.*?)^(?:_+ \w|=+ )", self.output, re.MULTILINE | re.DOTALL)
        assert found, self.output
        return found[1]

    def section(self, test: str, name: str) -> list[str]:
        found = re.search(rf"^-+ {name} -+$\n(.*?)(?=^-+ |\Z)", self.failure(test), re.MULTILINE | re.DOTALL)
        assert found, self.failure(test)
        return found[1].splitlines()

    def case(self, test: str) -> ET.Element:
        (found,) = (case for case in self.junit.iter("testcase") if case.get("name") == test)
        return found


def pytest_in(folder: Path, *arguments: str) -> str:
    """What a run of pytest in a folder writes."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    (folder / "test_suite.py").write_text(SUITE % SECRET)
    (folder / "pytest.ini").write_text("[pytest]\n")
    options = ["--junitxml=junit.xml", "-q", "-rA"]
    if find_spec("pytest_html") is not None:
        options += ["--html=report.html", "--self-contained-html"]
    output = pytest_in(folder, *options, "test_suite.py")
    assert "2 failed, 3 passed" in output, output
    return Run(folder, output, ET.parse(folder / "junit.xml").getroot())


def test_the_story_is_told_by_the_clock(run: Run) -> None:
    began, *lines = run.section("test_that_fails", "sonemu: what happened")
    assert re.fullmatch(r"began at \d\d:\d\d:\d\d\.\d{3}", began)
    assert len(lines) < 40
    times = [float(line.split()[0]) for line in lines]
    assert times == sorted(times)
    told = "\n".join(lines)
    assert re.search(r"did +fw: exec `nft add table ip t; .*ended with 0 after", told)
    assert re.search(r"! probe +input: <dropped: tcp input -> web .*fw", told)
    # Commands and what they write may alternate; none of the five is lost.
    same = re.findall(r"log +web: same(?: \((\d+) times\))?$", told, re.MULTILINE)
    assert sum(int(times or 1) for times in same) == 5


def test_what_is_shared_and_how_to_run_it_again(run: Run) -> None:
    lines = run.section("test_that_fails", "sonemu")
    told = "\n".join(lines)
    assert re.search(
        r"^bed \S+ on one PoP, shared in the session since test_suite.py::test_first_and_well$", told, re.M
    )
    again = r"run it again: pytest test_suite.py::test_that_fails --sonemu-seed=\d+ --sonemu-keep=on-failure"
    assert [line for line in lines if re.fullmatch(again, line)]
    assert "artifacts: sonemu-artifacts/test_suite.py-test_that_fails" in lines


def test_what_was_undone_and_what_was_not_is_told(run: Run) -> None:
    (line,) = run.section("test_that_fails", "sonemu teardown")
    assert re.match(
        r"chain is not as it was before this test \(fw: \+ rules: table ip t.*\); the next test gets", line
    )
    assert "chain is dirty" in "\n".join(run.section("test_that_fails", "sonemu teardown: undone"))


def test_a_vnf_that_ended_is_named_in_the_report_of_its_test_and_the_next_has_another(run: Run) -> None:
    notes = [each.get("value") or "" for each in run.case("test_that_breaks_a_vnf").iter("property")]
    assert any("web has ended with 137" in note and "the next test gets another" in note for note in notes)


def test_junit_and_html_have_the_same(run: Run) -> None:
    (failure,) = run.case("test_that_fails").iter("failure")
    told = "\n".join(run.section("test_that_fails", "sonemu: what happened"))
    assert told in (failure.text or "")
    assert "run it again: pytest" in (failure.text or "")
    report = run.folder / "report.html"
    if report.exists():
        assert "sonemu: what happened" in report.read_text()


def test_machines_are_told_what_a_test_ran_on(run: Run) -> None:
    found = {
        each.get("name"): each.get("value") or "" for each in run.case("test_first_and_well").iter("property")
    }
    assert found["sonemu_image"].startswith(("fw=sonemu/vnf-base sha256:", "web=sonemu/vnf-base sha256:"))
    assert re.match(r"\d+\.\d+", found["sonemu_kernel"])
    assert re.match(r"\d+\.\d+", found["sonemu_docker"])
    assert (found["sonemu_instance"], found["sonemu_topology"]) == ("chain", "one PoP")


def test_the_papers_of_a_failure_are_kept(run: Run) -> None:
    folder = run.folder / "sonemu-artifacts" / "test_suite.py-test_that_fails"
    assert {"chain.plan.txt", "chain.svg", "story.txt", "transcript.log"} <= {
        p.name for p in folder.iterdir()
    }
    assert (folder / "logs" / "web.log").read_text().count(" same\n") == 5
    picture = ET.parse(folder / "chain.svg").getroot()
    failed = [each.get("id") for each in picture.iter() if each.get("class") == "failed"]
    assert failed == ["fw"]
    assert "ip -batch" in (folder / "transcript.log").read_text()
    # What images put into /mnt/share; VNFs that put nothing there have no folder.
    assert (folder / "share" / "fw" / "results.csv").read_text() == "figures\n"
    assert [place.name for place in (folder / "share").iterdir()] == ["fw"]
    others = {path.name for path in (run.folder / "sonemu-artifacts").iterdir()}
    assert others == {".gitignore", "test_suite.py-test_that_fails", "test_suite.py-test_stats_are_compared"}


def test_what_was_put_on_each_link_is_kept(run: Run) -> None:
    folder = run.folder / "sonemu-artifacts" / "test_suite.py-test_that_fails" / "pcap"
    files = {path.name: read_pcap(path) for path in folder.iterdir()}
    assert set(files) == {"chain.link-1.pcap", "chain.link-2.pcap"}, set(files)
    syns = {name: [tcp_of(record) for record in records] for name, records in files.items()}
    ports = {name: [tcp.target_port for tcp in found if tcp and tcp.syn] for name, found in syns.items()}
    # Sent into the firewall and never out of it, each once; the earlier test's web request is not here.
    assert set(ports["chain.link-1.pcap"]) == {80}
    assert len(ports["chain.link-1.pcap"]) == 1
    assert ports["chain.link-2.pcap"] == []


def test_no_secret_is_anywhere(run: Run) -> None:
    assert SECRET.encode() not in (run.folder / "junit.xml").read_bytes()
    texts = {path: path.read_text(errors="replace") for path in run.folder.rglob("*") if path.is_file()}
    texts[Path("output")] = run.output
    for path, text in texts.items():
        if (
            path.name != "test_suite.py" and path.parent.name != "__pycache__"
        ):  # the suite, as it was compiled
            for part in ("quite", "cret'", "cret\\'", "word\\n"):
                assert part not in text, (path, part)
    assert "***" in run.output


def test_results_that_differ_are_compared_figure_by_figure(run: Run) -> None:
    told = run.failure("test_stats_are_compared")
    assert "InterfaceStats == InterfaceStats" in told
    assert re.search(r"rx_packets: \d+ != \d+ \(\+\d\)", told)


def test_the_command_that_is_told_runs_the_test_as_it_was(tmp_path: Path) -> None:
    """From the folder of the first run, below pytest's own, and with what was set for it."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    folder = tmp_path / "below"
    folder.mkdir()
    (folder / "test_mode.py").write_text(MODE)

    settings = ["--sonemu-set", "web.env.MODE=two words", "--sonemu-set", "links.link-1.delay=1ms"]
    first = pytest_in(folder, *settings, "--sonemu-artifacts=never", "-q")
    (line,) = re.findall(r"^run it again: pytest (.*)$", first, re.MULTILINE)
    again = pytest_in(folder, *shlex.split(line.replace("--sonemu-keep=on-failure", "--sonemu-keep=never")))
    for output in (first, again):
        assert "the mode is 'two words'" in output, output
        assert re.search(r"^\S+/link-1 is impaired from the start: delay 0.001$", output, re.MULTILINE)
        assert "1 failed" in output


MODE = """
import pytest
from pytest_sonemu import NetworkFunction, NetworkService

pytestmark = pytest.mark.sonemu(
    package=NetworkService.chain("in", NetworkFunction("web", image="sonemu/vnf-base", interfaces=["data"])))

def test_the_mode(service):
    mode = service.vnf("web").exec(["printenv", "MODE"]).stdout.strip()
    assert not mode, f"the mode is {mode!r}"
"""


FIREWALL = Path(__file__).parents[2] / "example_packages" / "firewall"

ELSEWHERE = f"""
import pytest

@pytest.mark.sonemu(package={str(FIREWALL)!r})
def test_that_fails(service):
    assert service.connect("input", "server", tcp=80).outcome == "dropped"
"""


def test_papers_lie_where_they_are_wanted_without_captures_and_name_the_package(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_else.py").write_text(ELSEWHERE)
    options = ["--sonemu-artifacts-dir=kept/here", "--sonemu-pcap=never", "--junitxml=junit.xml", "-q"]
    output = pytest_in(tmp_path, *options)
    assert "1 failed" in output, output
    assert "artifacts: kept/here/test_else.py-test_that_fails" in output
    (folder,) = (tmp_path / "kept" / "here").iterdir()
    assert (folder / "story.txt").exists(), sorted(folder.iterdir())
    assert list(folder.rglob("*.pcap")) == []
    assert not (tmp_path / "sonemu-artifacts").exists()
    found = ET.parse(tmp_path / "junit.xml").getroot().iter("property")
    (package,) = (each.get("value") for each in found if each.get("name") == "sonemu_package")
    assert package is not None
    assert package.endswith(f"firewall sha256:{read_package(FIREWALL).digest}")
    assert re.search(r" sha256:[0-9a-f]{64}$", package)

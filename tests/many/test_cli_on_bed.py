"""The verbs that work on a bed that is up, as a person and as a script use them."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, PoP, PopLink, TestBed, Topology
from pytest_sonemu.topology.model import Host
from tests.support.sonemu_up import SONEMU, sonemu

TOPOLOGY = Topology((PoP("left"), PoP("right")), (PopLink("left", "right"),), (Host("probe", "left"),))
CHAIN = NetworkService.chain("input", NetworkFunction("fw", image="sonemu/vnf-base"), "output", name="chain")


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    with TestBed(TOPOLOGY) as bed:
        bed.start(CHAIN)
        yield bed


def say(*arguments: str, stdin: bytes = b"", status: int = 0) -> str:
    done = subprocess.run([*SONEMU, *arguments], input=stdin, capture_output=True, timeout=60, check=False)
    assert done.returncode == status, (done.stdout, done.stderr)
    return (done.stdout if status == 0 else done.stderr).decode()


@pytest.mark.parametrize(
    ("endpoint", "address"), [("fw", "10.30."), ("input", "10.30."), ("probe", "10.40.")]
)
def test_a_command_at_any_endpoint(bed: TestBed, endpoint: str, address: str) -> None:
    shown = say("exec", bed.name, endpoint, "--", "ip", "-4", "-o", "addr")
    assert f" {endpoint if endpoint != 'fw' else 'output'} " in shown
    assert address in shown
    # Input, both outputs and the status are the command's.
    assert say("exec", bed.name, endpoint, "--", "cat", stdin=b"x" * 300_000) == "x" * 300_000
    failed = sonemu("exec", bed.name, endpoint, "--", "sh", "-c", "echo out; echo 'a  b' >&2; exit 7")
    assert (failed.returncode, failed.stdout, failed.stderr) == (7, "out\n", "a  b\n")
    assert sonemu("exec", bed.name, endpoint, "--", "sh", "-c", "kill -9 $$").returncode == 137


def test_a_program_of_the_machine_in_a_vnfs_network(bed: TestBed) -> None:
    inside, outside = "/opt/only-in-the-container", say("exec", bed.name, "fw", "--", "hostname")
    say("exec", bed.name, "fw", "--", "touch", inside)
    assert outside == "fw\n"
    assert " output" in say("exec", "--tool", bed.name, "fw", "--", "ip", "-o", "link")
    assert "No such file" in say("exec", "--tool", bed.name, "fw", "--", "ls", inside, status=2)


def test_what_does_not_exist(bed: TestBed) -> None:
    assert "no endpoint 'inptu'; there are: input, " in say("exec", bed.name, "inptu", "--", "true", status=1)
    assert "no instance 'chian'; there are: chain" in say(
        "exec", bed.name, "chian/fw", "--", "true", status=1
    )
    assert "sonemu: fw: `no-such-program` cannot be run: the image has no program 'no-such-program'" in say(
        "exec", bed.name, "fw", "--", "no-such-program", status=127
    )
    assert "no-such-program: not found" in say("exec", bed.name, "input", "--", "no-such-program", status=127)


@pytest.mark.parametrize("endpoint", ["fw", "input"])
def test_a_shell_at_a_terminal(bed: TestBed, endpoint: str) -> None:
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - the other process
        os.execv(SONEMU[0], [*SONEMU, "exec", bed.name, endpoint, "--", "sh"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
    person = Person(terminal)
    try:
        person.sees("# " if os.geteuid() == 0 or endpoint == "fw" else "$ ")
        person.types("stty size; echo A$((40 + 2))A\n")
        assert "33 111" in person.sees("A42A")
        # A shell that is just starting a command may miss the key: the command says that it runs.
        person.types("sh -c 'echo R$((40 + 2))R; exec sleep 60'\n")
        person.sees("R42R")
        person.types("\x03")
        person.types("echo B$((40 + 2))B\n")
        person.sees("B42B")
        person.types("exit 9\n")
        person.sees("")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    finally:
        os.close(terminal)


@pytest.mark.parametrize("endpoint", ["fw", "input"])
def test_what_ends_the_verb_is_for_the_command(bed: TestBed, endpoint: str) -> None:
    script = "trap 'echo told; exit 4' TERM; echo ready; while :; do sleep 0.1; done"
    with subprocess.Popen(
        [*SONEMU, "exec", bed.name, endpoint, "--", "sh", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as verb:
        assert verb.stdout is not None
        assert verb.stdout.readline() == "ready\n"
        verb.send_signal(signal.SIGTERM)
        assert verb.wait(20) == 4
        assert verb.stdout.read() == "told\n"


def test_the_way_of_a_conversation(bed: TestBed) -> None:
    shown = say("trace", bed.name, "input", "output", "--tcp", "80").splitlines()
    rows = [line.removeprefix("there").removeprefix("back").split()[:2] for line in shown[1:-1]]
    there = [["input", "out"], ["fw:input", "in"], ["fw:output", "out"], ["output", "in"]]
    back = [[at, {"in": "out", "out": "in"}[direction]] for at, direction in reversed(there)]
    assert rows == there + back
    assert shown[-1] == "arrived and was answered; nobody listened: a listener of ours answered"
    known = json.loads(say("trace", bed.name, "chain/input", "output", "--count", "2", "--json"))
    assert (known["protocol"], known["lost"], len(known["runs"])) == ("icmp", 0, 2)
    assert known["runs"][0]["hops"] == ["fw:input", "fw:output", "output"]
    assert "no endpoint 'inptu'; there are: input, " in say("trace", bed.name, "inptu", "output", status=1)


def test_a_conversation_that_is_lost(bed: TestBed) -> None:
    vnf = bed.service("chain").vnf("fw")
    vnf.sysctl("net.ipv4.ip_forward", 0)
    try:
        done = sonemu("trace", bed.name, "input", "output", "--udp", "53")
    finally:
        vnf.sysctl("net.ipv4.ip_forward", 1)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "lost on the way there: seen into fw:input, not out of fw"


def test_the_bed_is_drawn(bed: TestBed, tmp_path: Path) -> None:
    drawn = say("graph", bed.name)
    assert drawn.startswith(f"bed {bed.name}\n  left ── right\n")
    for plan in (bed.service("chain").plan, bed._core.instance("topology").plan):
        for endpoint in plan.endpoints:
            assert f" {endpoint.id} " in drawn
            assert all(str(a.ip) in drawn for each in endpoint.interfaces for a in each.addresses)
    say("graph", bed.name, "--svg", str(tmp_path / "bed.svg"))
    picture = ET.parse(tmp_path / "bed.svg").getroot()
    assert {each.get("id") for each in picture.iter() if each.get("id")} == {"input", "fw", "output", "probe"}
    assert "cannot write" in say("graph", bed.name, "--svg", str(tmp_path / "no" / "bed.svg"), status=1)
    assert '"chain/fw" -- "chain/output"' in say("graph", bed.name, "--dot")
    assert say("graph", bed.name, "--mermaid").startswith("flowchart LR\n")


class Person:
    """Somebody at a terminal."""

    def __init__(self, terminal: int) -> None:
        self._terminal, self._shown = terminal, ""

    def types(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def sees(self, text: str, seconds: float = 30.0) -> str:
        """What is shown up to `text`, or, if that is empty, up to the end."""
        deadline = time.monotonic() + seconds
        while not text or text not in self._shown:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} was not shown: {self._shown!r}"
            if select.select([self._terminal], [], [], left)[0]:
                try:
                    piece = os.read(self._terminal, 4096)
                except OSError:  # the other side is closed
                    piece = b""
                if not piece:
                    assert not text, f"it ended before {text!r} was shown: {self._shown!r}"
                    return self._shown
                self._shown += piece.decode()
        shown, _, self._shown = self._shown.partition(text)
        return shown

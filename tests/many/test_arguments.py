"""What people write as arguments: read as the docs say, refused readably where it cannot be."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, TestBed
from pytest_sonemu.errors import GatekeeperError, NotReadyError, ProbeError, SettingsError
from pytest_sonemu.gatekeeper.client import GatekeeperClient
from pytest_sonemu.handles.sap import Sap
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.vnf import Vnf
from tests.support.static_program import static_image
from tests.support.tapes import Tape


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    with TestBed() as bed:
        yield bed


@pytest.fixture(scope="module")
def running(bed: TestBed) -> Service:
    """user - app, of an image with one static program."""
    app = NetworkFunction("app", image=static_image(), interfaces=["data"])
    made = NetworkService.of("arguments", [app], {"link": ["user", "app:data"]})
    return bed.start(made, vnfs={"app": {"ready": [80]}})


@pytest.fixture
def service(running: Service) -> Iterator[Service]:
    view = running.view()
    yield view
    assert view.close_view() == ()


@pytest.fixture
def app(service: Service) -> Vnf:
    return service.vnf("app")


@pytest.fixture
def user(service: Service) -> Sap:
    return service.sap("user")


# -- times ----------------------------------------------------------------------------------------


def _flowing(service: Service, time: Any) -> None:
    with service.flow("user", "app", udp=5000) as flow:
        flow.wait_until_flowing(1, timeout=time)


def _captured(service: Service, time: Any) -> None:
    with service.vnf("app").capture() as capture:
        capture.wait_for(count=0, timeout=time)


def _replayed(service: Service, time: Any, folder: Path) -> None:
    tape = Tape("192.0.2.1", "192.0.2.2").echo(1).save(folder / "x.pcap")
    service.replay(tape, {"192.0.2.1": "user", "192.0.2.2": "app"}, speed="max", timeout=time)


def _scheduled(service: Service, time: Any) -> None:
    with service.link("link").schedule([(0, {"delay": 0})]) as schedule:
        schedule.wait(time)


def _asked(how: Callable[[GatekeeperClient, Any], object]) -> Callable[[Service, Any, Path], object]:
    def ask(service: Service, time: Any, folder: Path) -> None:
        with GatekeeperClient("http://127.0.0.1:9") as client:
            how(client, time)

    return ask


def _sap(service: Service) -> Sap:
    return service.sap("user")


def _app(service: Service) -> Vnf:
    return service.vnf("app")


Use = Callable[[Service, Any, Path], object]
# Each public argument that is a time: how it is given, under its own name.
TIMES: dict[str, Use] = {
    "ping timeout": lambda s, t, _: s.ping("user", "app", 1, timeout=t),
    "ping interval": lambda s, t, _: s.ping("user", "app", 1, interval=t),
    "connect timeout": lambda s, t, _: s.connect("user", "app", tcp=80, timeout=t),
    "trace timeout": lambda s, t, _: s.trace("user", "app", tcp=80, timeout=t),
    "policy timeout": lambda s, t, _: s.policy("user app tcp 80 allow", timeout=t),
    "throughput duration": lambda s, t, _: _sap(s).throughput("app", duration=t),
    "replay timeout": _replayed,
    "http timeout": lambda s, t, _: _sap(s).http("http://app/", timeout=t),
    "http to connect timeout": lambda s, t, _: _sap(s).http("http://app/", timeout=(t, None)),
    "http to answer timeout": lambda s, t, _: _sap(s).http("http://app/", timeout=(1, t)),
    "flow timeout": lambda s, t, _: _flowing(s, t),
    "capture timeout": lambda s, t, _: _captured(s, t),
    "schedule timeout": lambda s, t, _: _scheduled(s, t),
    "exec timeout": lambda s, t, _: _app(s).exec(["/app", "echo"], timeout=t),
    "run timeout": lambda s, t, _: _sap(s).run("true", timeout=t),
    "tool timeout": lambda s, t, _: _app(s).tool("true", timeout=t),
    "create_connection timeout": lambda s, t, _: _sap(s).create_connection(("app", 80), t).close(),
    "wait_for_log timeout": lambda s, t, _: _app(s).wait_for_log("serving", since=0, timeout=t),
    "wait_for_port timeout": lambda s, t, _: _app(s).wait_for_port(80, timeout=t),
    "wait_for_file timeout": lambda s, t, _: _app(s).wait_for_file("/app", timeout=t),
    "wait_until timeout": lambda s, t, _: _app(s).wait_until(80, timeout=t),
    "wait_ready timeout": lambda s, t, _: _app(s).wait_ready(timeout=t),
    "watch.wait timeout": lambda s, t, _: _app(s).watch().wait(timeout=t),
    "watch.none during": lambda s, t, _: _app(s).watch().none(during=t),
    "process.wait timeout": lambda s, t, _: _sap(s).spawn("true").wait(timeout=t),
    "process.wait_for timeout": lambda s, t, _: _sap(s).spawn("echo it").wait_for("it", timeout=t),
    "process.stop grace": lambda s, t, _: _sap(s).spawn("sleep 9").stop(grace=t),
    "stop grace": lambda s, t, _: _app(s).stop(grace=t),
    "restart grace": lambda s, t, _: _app(s).restart(grace=t),
    "bed lease": lambda s, t, _: TestBed(lease=t).end(),
    "client timeout": lambda s, t, _: GatekeeperClient("http://127.0.0.1:9", timeout=t).close(),
    "client.wait_ready timeout": _asked(lambda client, t: client.wait_ready(timeout=t)),
    "client.wait_until_running timeout": _asked(lambda client, t: client.wait_until_running("x", timeout=t)),
    "client.wait_until_running interval": _asked(
        lambda client, t: client.wait_until_running("x", interval=t)
    ),
}

# Nothing comes, or nothing ends them earlier.
SAT_OUT = {
    which for which in TIMES if which.startswith(("client", "watch", "throughput", "replay", "ping int"))
}


@pytest.mark.parametrize("which", TIMES)
def test_times_are_numbers_and_texts(service: Service, tmp_path: Path, which: str) -> None:
    name = which.rsplit(maxsplit=1)[-1]
    with pytest.raises(ProbeError, match=rf"{name}.*'5 apples' is not a time; write it like 50ms"):
        TIMES[which](service, "5 apples", tmp_path)
    with contextlib.suppress(NotReadyError, GatekeeperError):  # nothing came; the time was read
        TIMES[which](service, "100ms" if which in SAT_OUT else "5s", tmp_path)


def test_sizes_are_numbers_and_texts(service: Service) -> None:
    assert service.ping("user", "app", 1, size="1k").loss == 0
    with (
        service.vnf("app").capture("data", "udp") as capture,
        service.flow("user", "app", udp=5000, size=("1k", 1024)) as flow,
    ):
        flow.wait_until_flowing(1)
    assert {packet.length for packet in capture} == {14 + 20 + 8 + 1024}
    with pytest.raises(ProbeError, match="size: '5 apples' is not a size"):
        service.ping("user", "app", size="5 apples")
    with pytest.raises(ProbeError, match="size: '5 apples' is not a size"):
        service.flow("user", "app", udp=5000, size="5 apples")


# -- ports ----------------------------------------------------------------------------------------

PORTS: dict[str, Callable[[Service, Any], object]] = {
    "forward port": lambda s, p: _app(s).forward(p),
    "forward outer": lambda s, p: _app(s).forward(80, outer=p),
    "url port": lambda s, p: _app(s).url(p),
    "connect tcp": lambda s, p: s.connect("user", "app", tcp=p),
    "connect udp": lambda s, p: s.connect("user", "app", udp=p),
    "flow tcp": lambda s, p: s.flow("user", "app", tcp=p),
    "flow udp": lambda s, p: s.flow("user", "app", udp=p),
    "flow over http tcp": lambda s, p: s.flow("user", "app", http=True, tcp=p),
    "trace tcp": lambda s, p: s.trace("user", "app", tcp=p),
    "trace udp": lambda s, p: s.trace("user", "app", udp=p),
    "trace of http tcp": lambda s, p: s.trace("user", "app", http=True, tcp=p),
    "throughput port": lambda s, p: _sap(s).throughput("app", port=p),
    "wait_for_port port": lambda s, p: _app(s).wait_for_port(p),
}


@pytest.mark.parametrize("which", PORTS)
def test_ports_are_numbers_from_1_to_65535(service: Service, which: str) -> None:
    name = which.rsplit(maxsplit=1)[-1]
    for port in (99999, -1, "80", True, *([0] if not which.startswith("throughput") else [])):
        with pytest.raises(ProbeError, match=rf"^{name}: {port!r} is not a port; it is a number from 1 to"):
            PORTS[which](service, port)


def test_what_is_no_port_is_not_forwarded(app: Vnf) -> None:
    with pytest.raises(ProbeError, match="protocol: 'sctp' cannot be forwarded; write 'tcp' or 'udp'"):
        app.forward(80, protocol="sctp")  # type: ignore[arg-type]
    assert app.published == {}


# -- everything else ------------------------------------------------------------------------------

# Of any type, so that what is wrong can be written.
MISUSES: dict[str, tuple[Callable[[Any], object], str]] = {
    "ping count": (lambda s: s.ping("user", "app", count="3"), "count: '3' is not a whole number from 1 on"),
    "ping no one": (lambda s: s.sap("user").ping(None), "None is no endpoint; write its id"),
    "connect no one": (lambda s: s.connect("user", 5, tcp=80), "5 is no endpoint; write its id"),
    "trace count": (lambda s: s.trace("user", "app", tcp=80, count="3"), "count: '3' is not a whole number"),
    "scale": (lambda s: s.scale("app", 2.5), "count: 2.5 is not a whole number"),
    "wait_for_log": (lambda s: s.vnf("app").wait_for_log(b"x"), "text: b'x' is no text to look for"),
    "wait_for": (
        lambda s: s.sap("user").spawn("true").wait_for(re.compile(b"x")),
        r"text: re.compile\(b'x'\) is no text to look for",
    ),
    "generator": (
        lambda s: s.flow("user", "app", udp=5000, generator=object()),
        "generator: .* is none, it has no start, stop, stats",
    ),
    "servers": (lambda s: s.flow("user", "app", udp=5000, servers=[1]), r"servers: \[1\] are no names"),
    "exec": (lambda s: s.vnf("app").exec(["/app", 1]), "command: 1 is no text; write '1'"),
    "spawn": (lambda s: s.vnf("app").spawn(["/app", None]), "command: None is no text"),
    "spawn_tool": (lambda s: s.vnf("app").spawn_tool(["sleep", 1]), "command: 1 is no text; write '1'"),
    "exec env": (lambda s: s.vnf("app").exec(["/app"], env={"A": 1}), "env: write names and values as texts"),
    "run env": (lambda s: s.sap("user").run("true", env="A=1"), "env: write names and values as texts"),
    "run stdin": (lambda s: s.sap("user").run("cat", stdin=5), "stdin: 5 is neither text nor bytes"),
    "put nothing": (lambda s: s.vnf("app").put(None, "/x"), "source: None is no bytes, no text and no Path"),
    "put nowhere": (lambda s: s.vnf("app").put("x", 5), "path: 5 is no text"),
    "get": (lambda s: s.vnf("app").get(5), "path: 5 is no text"),
    "get nowhere": (lambda s: s.vnf("app").get("/app", 5), "target: 5 is no text"),
    "signal": (
        lambda s: s.sap("user").spawn("sleep 9").signal("TREM"),
        "'TREM' is not a signal; write it like",
    ),
    "down": (lambda s: s.link("link").down(carrier="no"), "carrier: 'no' is neither True nor False"),
}


@pytest.mark.parametrize("which", MISUSES)
def test_what_cannot_be_is_refused_at_the_call(service: Service, which: str) -> None:
    use, said = MISUSES[which]
    with pytest.raises(ProbeError, match=f"^{said}"):
        use(service)


def test_one_name_is_not_its_letters(service: Service, tmp_path: Path) -> None:
    with service.flow("user", "app", udp=5000, servers="app") as flow:
        flow.wait_until_flowing(1)
    with service.vnf("app").capture() as capture:
        service.ping("user", "app", 1)
    capture.save(tmp_path / "golden.pcap")
    assert capture.equals(tmp_path / "golden.pcap", ignore="ip.ident")


def test_signals_and_lines_by_name(user: Sap) -> None:
    process = user.spawn(["sh", "-c", "trap 'echo hung up' HUP; echo begun; while :; do sleep 0.01; done"])
    assert process.wait_for(re.compile("^beg")) == "begun"
    process.signal("HUP")
    assert process.wait_for("hung") == "hung up"
    process.signal("SIGKILL")
    assert process.wait().exit_status != 0


def test_programs_have_variables_input_and_a_check(app: Vnf, user: Sap) -> None:
    for run in (user.run, app.run, user.tool, app.tool):
        assert run(["sh", "-c", "cat; echo $MODE $HOME"], env={"MODE": "strict"}, stdin="in\n").stdout == (
            f"in\nstrict {os.environ['HOME']}\n"
        )
        assert run("false").exit_status == 1
        with pytest.raises(ProbeError, match="false"):
            run("false", check=True)
    for spawn in (user.spawn, app.spawn_tool):
        process = spawn(["sh", "-c", "cat; echo $MODE"], env={"MODE": "strict"}, stdin=b"in\n")
        assert process.wait().stdout == "in\nstrict\n"
    assert user.run("cat").stdout == ""


def test_a_link_that_cannot_be_joined(bed: TestBed, service: Service) -> None:
    anything: Any = "lan"
    for join in (bed.host, partial(bed.container, image="x")):
        with pytest.raises(SettingsError, match=r"'other': on='lan' is no link of a service; write on=serv"):
            join("other", on=anything)
    with pytest.raises(SettingsError, match="container 'ids': tap='in' is no link of a service"):
        bed.container("ids", image="x", tap="in")  # type: ignore[arg-type]
    with (
        TestBed() as elsewhere,
        pytest.raises(SettingsError, match=f"link 'link' is on bed {bed.name}, not on"),
    ):
        elsewhere.host("other", on=service.link("link"))

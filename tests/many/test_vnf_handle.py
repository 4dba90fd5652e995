"""Every method of a VNF's handle, on an image with a shell and on one with a single static program."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, TestBed
from pytest_sonemu.errors import EmulationError, NotFoundError, NotReadyError, NotRunningError, ProbeError
from pytest_sonemu.handles.combining import all_of, any_of
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.vnf import Vnf
from tests.support.machine import wait
from tests.support.static_program import static_image


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    with TestBed() as bed:
        yield bed


@pytest.fixture(scope="module")
def shared(bed: TestBed) -> Service:
    network = NetworkService.of(
        "handles",
        [
            NetworkFunction("fw", image="sonemu/vnf-base", interfaces=["input", "output"]),
            NetworkFunction("app", image=static_image(), interfaces=["data"]),
        ],
        {"in": ["user", "fw:input"], "out": ["fw:output", "app:data"]},
    )
    return bed.start(network, vnfs={"app": {"ready": [80], "memory": "64MiB", "cpu": 0.5}})


@pytest.fixture
def service(shared: Service) -> Iterator[Service]:
    view = shared.view()
    yield view
    assert view.close_view() == ()


@pytest.fixture
def fw(service: Service) -> Vnf:
    return service.vnf("fw")


@pytest.fixture
def app(service: Service) -> Vnf:
    """The VNF with nothing but one static program."""
    return service.vnf("app")


def serve_once(service: Service) -> None:
    """The static program notes each client."""
    assert service.vnf("fw").http("http://app/").text == "hello\n"


# -- spawn ------------------------------------------------------------------------------------------


def test_a_spawned_process_is_live_and_ends_with_the_view(shared: Service) -> None:
    view = shared.view()
    app = view.vnf("app")
    process = app.spawn(["/app", "wait"])
    assert process.wait_for("waiting", timeout=5) == "waiting"
    assert (process.running, process.exit_status) == (True, None)
    assert app.stats().processes == 2
    assert view.close_view() == ()
    assert process.stdout == "waiting\nterminated\n"
    assert process.exit_status == 0
    assert app.stats().processes == 1


def test_a_spawned_process_by_a_shell_has_input_streams_and_a_status(fw: Vnf) -> None:
    process = fw.spawn("cat; echo $COLOUR >&2; exit 7", env={"COLOUR": "red"}, stdin="some\ninput\n")
    result = process.wait(timeout=10)
    assert (result.exit_status, result.stdout, result.stderr) == (7, "some\ninput\n", "red\n")
    assert "ended with 7" in repr(process)


def test_all_that_a_spawned_shell_has_started_ends_with_it(fw: Vnf) -> None:
    process = fw.spawn("trap '' TERM; sleep 4242 & sleep 4243; true")
    assert wait(lambda: len(sleeps(fw)) == 2, 5)
    process.stop(grace=0.1)
    assert sleeps(fw) == []
    assert process.exit_status == 128 + signal.SIGKILL


def sleeps(vnf: Vnf) -> list[str]:
    argvs = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [str(argv) for argv in argvs if argv.startswith(b"sleep\x00424")]


def test_a_spawned_process_takes_signals(app: Vnf) -> None:
    process = app.spawn(["/app", "wait"])
    process.wait_for("waiting")
    process.signal(signal.SIGTERM)
    assert process.wait(timeout=5).exit_status == 0


def test_waiting_for_what_a_process_never_says_tells_what_it_said(app: Vnf) -> None:
    process = app.spawn(["/app", "echo", "one", "two"])
    with pytest.raises(NotReadyError, match=r"ended without 'three'; it wrote one two"):
        process.wait_for("three", timeout=5)
    with pytest.raises(ProbeError, match="`/nothing` cannot be run: the image has no program '/nothing'"):
        app.spawn(["/nothing"])


# -- files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["fw", "app"])
def test_files_go_in_and_come_out(service: Service, which: str, tmp_path: Path) -> None:
    vnf = service.vnf(which)
    vnf.put("words\n", "/deep/er/words.txt")
    assert vnf.read_text("/deep/er/words.txt") == "words\n"
    vnf.put(b"\x00\xff", "/deep/bytes")
    assert vnf.get("/deep/bytes") == b"\x00\xff"
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "inner" / "file").write_text("inner")
    vnf.put(tmp_path / "folder", "/deep/folder")
    copied = vnf.get("/deep", tmp_path)
    assert copied == tmp_path / "deep"
    assert (copied / "folder" / "inner" / "file").read_text() == "inner"
    assert (copied / "er" / "words.txt").read_text() == "words\n"
    assert vnf.exists("/deep/folder/inner")
    assert not vnf.exists("/deep/folder/outer")


def test_a_program_put_into_a_vnf_runs(fw: Vnf) -> None:
    fw.put("#!/bin/sh\necho it runs\n", "/usr/local/bin/mine", mode=0o755)
    assert fw.exec(["mine"], check=True).stdout == "it runs\n"


def test_what_was_there_before_a_put_is_there_again(shared: Service) -> None:
    before = shared.vnf("fw").exec("stat -c '%s %Y %a' /etc/motd; cat /etc/motd", check=True).stdout
    view = shared.view()
    view.vnf("fw").put("changed", "/etc/motd", mode=0o600)
    assert view.vnf("fw").read_text("/etc/motd") == "changed"
    assert view.close_view() == ()
    assert shared.vnf("fw").exec("stat -c '%s %Y %a' /etc/motd; cat /etc/motd", check=True).stdout == before


def test_no_link_of_an_image_leads_out_of_it(fw: Vnf, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the machine")
    fw.exec(["ln", "-s", f"/proc/1/root/../../../..{tmp_path}/secret", "/tmp/link"], check=True)
    fw.exec(["ln", "-s", "/etc/hostname", "/tmp/name"], check=True)
    with pytest.raises(EmulationError, match="symbolic links"):
        fw.read_text("/tmp/link")
    assert fw.read_text("/tmp/name").strip() == "fw"
    fw.exec(["mkfifo", "/tmp/fifo"], check=True)
    with pytest.raises(Exception, match="neither a file nor a folder"):
        fw.read_text("/tmp/fifo")
    fw.exec("rm /tmp/link /tmp/name /tmp/fifo", check=True)


def test_wrong_paths_are_named(fw: Vnf) -> None:
    with pytest.raises(NotFoundError, match="no file in fw '/etc/nothing'"):
        fw.read_text("/etc/nothing")
    with pytest.raises(NotFoundError):
        fw.get("/etc/nothing", "x")
    with pytest.raises(ProbeError, match="not an absolute path"):
        fw.put("", "etc/motd")
    with pytest.raises(ProbeError, match="is a folder"):
        fw.read_text("/etc")


def test_a_vnf_that_does_not_run_says_so(service: Service) -> None:
    fw = service.vnf("fw")
    assert fw.exec(["id", "-u"], user=65534).stdout == "65534\n"
    with pytest.raises(ProbeError, match="unable to find user nobodyx"):
        fw.exec("id", user="nobodyx")
    fw.pause()
    assert fw.stats().memory > 0
    for ask in (fw.exec, fw.spawn):
        with pytest.raises(EmulationError, match=r"VNF 'fw' is paused; unpause\(\) it first"):
            ask("id")
    fw.unpause()
    fw.stop(grace=0)
    for what in (lambda: fw.exec("id"), lambda: fw.spawn("id"), fw.stats, lambda: fw.limits):
        with pytest.raises(EmulationError, match=r"VNF 'fw' does not run, it has exited; start\(\) it first"):
            what()


def test_probes_to_a_vnf_that_is_stopped_tell_what_became_of_them(service: Service) -> None:
    app = service.vnf("app")
    app.stop(grace=0)
    answer = service.connect("user", "app", tcp=4000, listen=True, timeout=0.2)
    assert answer.outcome in ("dropped", "not_sent")
    assert answer.reason.startswith("app has exited; ")
    trace = service.trace("user", "app", udp=4000, timeout=0.2)
    assert not trace.reached
    assert trace.reason.startswith("app has exited; ")
    rows = "user app tcp 4000 drop\nuser app udp 4000 allow\nuser app icmp - deny\n"
    result = service.policy(rows, timeout=0.2)
    assert [row.ok for row in result.rows] == [True, False, True]
    assert "1 of 3 rows differ" in repr(result)
    assert "; app has exited" in repr(result)
    udp, tcp = (service.flow("user", "app", **{way: 4000}) for way in ("udp", "tcp"))  # type: ignore[arg-type]
    for flow in (udp, tcp):
        with flow:
            assert flow.received == 0
            app.start()
            flow.wait_until_flowing()
        app.stop(grace=0)
    for speak in (service.connect, service.trace):
        with pytest.raises(NotRunningError, match=r"'app' is not running, and so has no network; start\(\)"):
            speak("app", "user", tcp=80)
    with (
        pytest.raises(NotRunningError, match="'app' is not running"),
        service.flow("app", "user", udp=4000),
    ):
        raise AssertionError("it cannot flow")


def test_probes_to_a_vnf_that_is_paused(service: Service) -> None:
    # Its kernel goes on, and with it a listener of ours.
    service.vnf("app").pause()
    assert service.connect("user", "app", tcp=4000, listen=True).listener == "ours"
    assert service.trace("user", "app", udp=4000).reached
    assert service.policy("user app tcp 4000 allow\nuser app udp 4000 allow\n")
    with service.flow("user", "app", udp=4000) as flow:
        flow.wait_until_flowing()


def test_files_of_a_stopped_vnf_can_be_read(service: Service) -> None:
    fw = service.vnf("fw")
    fw.stop()
    assert "root" in fw.read_text("/etc/passwd")


# -- logs and waiting -------------------------------------------------------------------------------


def test_wait_for_log_counts_from_the_begin_of_the_view(service: Service, app: Vnf) -> None:
    with pytest.raises(NotReadyError, match="`since=0` takes them all"):
        app.wait_for_log("serving", timeout=0.2)
    assert app.wait_for_log("serving", since=0) == "serving"
    assert "serving" not in app.logs
    assert "serving" in [line.text for line in app.log_lines(since=0)]
    began = time.time()
    serve_once(service)
    line = app.wait_for_log(re.compile(r"^client \d+$"))
    (entry,) = [each for each in app.log_lines(began) if each.text == line]
    assert began <= entry.time <= time.time()
    assert line in app.logs.splitlines()


def test_wait_for_file_and_put_together(fw: Vnf) -> None:
    fw.spawn("sleep 0.3; touch /tmp/there; sleep 60")
    fw.wait_for_file("/tmp/there", timeout=5)
    fw.wait_until("file:/tmp/there", any_of("file:/never", lambda vnf: vnf.exists("/tmp/there")), timeout=5)
    fw.exec(["rm", "/tmp/there"], check=True)
    with pytest.raises(NotReadyError, match=r"(?s)file /tmp/there or tcp port 9.*not there.*look again"):
        fw.wait_until(any_of("file:/tmp/there", 9), timeout=0.3, hint="look again")
    with pytest.raises(NotReadyError, match=r"(?s)tcp port 9.*nobody serves"):
        fw.wait_for_port(9, timeout=0.1, hint="nobody serves")
    with pytest.raises(NotReadyError, match=r"(?s)file /never.*nobody writes"):
        fw.wait_for_file("/never", timeout=0.1, hint="nobody writes")
    with pytest.raises(NotReadyError, match="file /etc/passwd and file /never"):
        fw.wait_until(all_of("file:/etc/passwd", "file:/never"), timeout=0.3)


# -- watch ------------------------------------------------------------------------------------------


def test_a_json_file_is_watched_from_its_end(service: Service, app: Vnf) -> None:
    serve_once(service)
    app.wait_for_log("client")
    events = app.watch("/data/events.json", format="json")
    assert events.none(during=0.1)
    serve_once(service)
    event = events.wait(lambda event: event["event"] == "client", timeout=3)
    assert event["count"] > 1
    absence = events.none(lambda event: event["event"] == "client", during=0.0)
    assert not absence
    assert absence.event == event
    assert "events.json: came after all: {'event': 'client'" in repr(absence)
    with pytest.raises(NotReadyError, match=r"no such event within 0.1 s; 1 others"):
        events.wait(lambda event: event["missing"], timeout=0.1)
    whole = app.watch("/data/events.json", format="json", whole=True)
    assert len(whole) > len(events)


def test_output_is_watched_too(service: Service, app: Vnf) -> None:
    lines = app.watch()
    serve_once(service)
    assert lines.wait(lambda line: line.startswith("client"), timeout=3)
    assert "serving" not in lines.events


def test_a_watched_file_may_come_late_be_cut_and_be_replaced(fw: Vnf) -> None:
    lines = fw.watch("/tmp/late.log")
    assert len(lines) == 0
    fw.exec("echo one > /tmp/late.log", check=True)
    assert lines.wait() == "one"
    fw.exec("echo 2 > /tmp/late.log", check=True)
    fw.exec("mv /tmp/late.log /tmp/late.log.1; echo three > /tmp/late.log", check=True)
    lines.wait(lambda line: line == "three", timeout=3)
    fw.exec("echo four >> /tmp/late.log", check=True)
    lines.wait(lambda line: line == "four", timeout=3)
    assert lines.events == ("one", "2", "three", "four")
    numbers = fw.watch("/tmp/late.log", format=int, whole=True)
    fw.exec("rm /tmp/late.log; echo 5 > /tmp/late.log", check=True)
    with pytest.raises(ValueError, match="invalid literal"):
        numbers.wait(timeout=3)


# -- figures ----------------------------------------------------------------------------------------


def test_stats_and_limits_are_the_kernels(app: Vnf, fw: Vnf) -> None:
    assert (app.limits.cpu, app.limits.memory) == (0.5, 64 * 2**20)
    assert (fw.limits.cpu, fw.limits.memory) == (None, None)
    before = fw.stats()
    fw.exec("i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done", check=True)
    after = fw.stats()
    assert after.cpu - before.cpu > 0.02
    assert 0 < after.memory < 64 * 2**20
    assert after.peak >= after.memory
    assert (app.stats().processes, app.stats().oom_kills) == (1, 0)


def test_counters_go_on_over_a_restart(service: Service, fw: Vnf) -> None:
    service.vnf("app").ping("fw:output", count=5)
    before, line = fw.interface("output").stats, service.link("out").stats()["app:data"]
    assert before.rx_packets >= 5
    fw.restart()
    between = fw.interface("output").stats
    assert between.rx_packets >= before.rx_packets
    assert between.tx_bytes >= before.tx_bytes
    service.vnf("app").ping("fw:output", count=5)
    assert fw.interface("output").stats.rx_packets >= before.rx_packets + 5
    assert service.link("out").stats()["app:data"].packets >= line.packets + 5


def test_a_url_can_be_asked(service: Service, app: Vnf) -> None:
    assert app.url(80) == "http://app/"
    assert app.url(8443, "a/b", "https") == "https://app:8443/a/b"
    assert service.vnf("fw").http(app.url(80)).text == "hello\n"


# -- lives ------------------------------------------------------------------------------------------


def test_a_paused_vnf_stands_and_goes_on_after_the_test(shared: Service) -> None:
    view = shared.view()
    view.vnf("app").pause()
    assert view.vnf("app").state.phase == "paused"
    # Its kernel answers, its program does not.
    result = view.connect("fw", "app", tcp=80)
    assert result.outcome == "open"
    with pytest.raises(Exception, match="timed out"):
        view.vnf("fw").http("http://app/", timeout=0.3)
    assert view.close_view() == ()
    assert shared.vnf("app").state.phase == "running"
    serve_once(shared)


def test_json_is_what_testinfra_sees(fw: Vnf) -> None:
    pytest.importorskip("testinfra")
    assert fw.host.file("/etc/passwd").contains("root")
    assert fw.host.run("echo %s", "a b").stdout == "a b\n"
    assert fw.host.user("root").uid == 0
    assert json.loads(fw.host.check_output("echo '[1]'")) == [1]

"""The server and what stands behind the routes: limits, ends, failures, two at once, the typed client."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from jsonschema import Draft202012Validator

from pytest_sonemu.errors import GatekeeperError, SettingsError
from pytest_sonemu.gatekeeper import catalogue, reception
from pytest_sonemu.gatekeeper.app import make_app
from pytest_sonemu.gatekeeper.client import GatekeeperClient
from pytest_sonemu.gatekeeper.lifecycle import Lifecycle
from pytest_sonemu.gatekeeper.model import Wish
from pytest_sonemu.gatekeeper.openapi import document
from pytest_sonemu.gatekeeper.server import GatekeeperServer
from pytest_sonemu.gatekeeper.state import Gatekeeper
from pytest_sonemu.topology.model import PoP, Topology
from tests.support.fake_emulation import FakeEmulation
from tests.support.http import Served, assert_problem
from tests.support.old_clients import send
from tests.support.small_packages import small

MIB = 1024**2


@pytest.fixture
def fake() -> FakeEmulation:
    return FakeEmulation()


@pytest.fixture
def served(fake: FakeEmulation) -> Iterator[Served]:
    served = Served(fake, fake.left)
    yield served
    fake.hold.set()
    served.close()


@pytest.fixture
def client(served: Served) -> Iterator[GatekeeperClient]:
    with GatekeeperClient(served.url) as client:
        yield client


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.005)


class TestTheServer:
    def test_two_in_one_process_are_two(self, served: Served) -> None:
        other_fake = FakeEmulation()
        other = Served(other_fake, other_fake.left)
        mine = served.onboard(small(name="mine"))
        theirs = other.onboard(small(name="theirs"))
        other.start({})
        assert served.get("/packages").body == {"service_uuid_list": [mine]}
        assert other.get("/packages").body == {"service_uuid_list": [theirs]}
        assert (served.left(), len(other.left())) == ([], 1)
        other.close()
        assert served.get("/health").status == 200

    def test_the_port_is_free_again_at_once(self, fake: FakeEmulation) -> None:
        app = make_app(Gatekeeper.of(fake))
        first = GatekeeperServer(app)
        assert requests.get(f"{first.url}/health", timeout=5).status_code == 200
        first.close()
        with GatekeeperServer(app, port=first.port) as second:
            assert requests.get(f"{second.url}/health", timeout=5).status_code == 200
        second.close()

    def test_a_port_that_is_taken(self, served: Served) -> None:
        with pytest.raises(SettingsError, match=r"cannot serve on 127\.0\.0\.1:\d+.*choose another port"):
            GatekeeperServer(make_app(served.gatekeeper), port=served.server.port)

    @pytest.mark.parametrize(
        ("host", "port"), [("no such host", 0), ("203.0.113.9", 0), ("127.0.0.1", 70000)]
    )
    def test_an_address_that_cannot_be_had(self, served: Served, host: str, port: int) -> None:
        with pytest.raises(SettingsError, match="cannot serve on"):
            GatekeeperServer(make_app(served.gatekeeper), host, port)

    def test_only_this_machine_is_served(self, served: Served) -> None:
        assert served.url.startswith("http://127.0.0.1:")

    def test_the_end_answers_what_was_asked(self, served: Served, fake: FakeEmulation) -> None:
        """And does not wait for a client that keeps its connection open."""
        served.onboard(small())
        fake.hold.clear()
        idle = requests.Session()
        idle.get(f"{served.url}/health", timeout=5)
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(served.start, {})
            until(lambda: any(line.startswith("starting") for line in served.said))
            ended = pool.submit(served.server.close)
            until(lambda: not _connects(served.url))
            fake.hold.set()
            assert asked.result(10)
            ended.result(10)
        idle.close()

    def test_an_end_that_does_not_wait(self, served: Served, fake: FakeEmulation) -> None:
        served.onboard(small())
        fake.hold.clear()
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(requests.post, f"{served.url}/instantiations", json={}, timeout=30)
            until(lambda: any(line.startswith("starting") for line in served.said))
            began = time.monotonic()
            served.server.close(grace=0.2)
            assert time.monotonic() - began < 5
            with pytest.raises(requests.ConnectionError):
                asked.result(10)
            fake.hold.set()

    def test_looking_does_not_wait_for_starts(self, served: Served, fake: FakeEmulation) -> None:
        served.onboard(small())
        fake.hold.clear()
        with ThreadPoolExecutor(20) as pool:
            starts = [pool.submit(served.start, {}) for _ in range(20)]
            until(lambda: sum(line.startswith("starting") for line in served.said) == 20)
            assert served.get("/health").body["instances"] == 0
            assert served.running() == [[]]
            fake.hold.set()
            assert len({start.result() for start in starts}) == 20

    @pytest.mark.parametrize(
        ("request_of", "status"),
        [
            (b"GARBAGE\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
            (b"POST /packages HTTP/1.1\r\nContent-Length: many\r\n\r\n", 400),
            (b"POST /packages HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
            (b"GET / HTTP/1.1\r\nX: " + b"x" * 262_144, 431),
        ],
        ids=["line", "header", "length", "coding", "long header"],
    )
    def test_what_is_no_request(self, served: Served, request_of: bytes, status: int) -> None:
        answer = send(served.url, request_of)
        assert answer.status == status
        assert "Content-Type: application/json" in answer.head
        assert_problem(json.loads(answer.body))


class TestLimits:
    def test_600_mib(self, served: Served) -> None:
        """Sent to the end, as clients do that do not ask first; they get to read the answer."""
        part = bytes(MIB)
        began = time.monotonic()
        answer = served.ask(
            "POST",
            "/packages",
            data=_Parts(part, 600),
            headers={"Content-Type": "application/zip"},
        )
        assert answer.status == 413
        assert "512 MiB" in answer.body["detail"]
        assert time.monotonic() - began < 20

    @pytest.mark.parametrize("chunked", [False, True])
    def test_nothing_of_it_is_kept(
        self, served: Served, monkeypatch: pytest.MonkeyPatch, chunked: bool
    ) -> None:
        monkeypatch.setattr(reception, "MAX_UPLOAD", MIB)
        before = set(os.listdir("/proc/self/fd"))
        data: Any = iter([bytes(MIB)] * 5) if chunked else _Parts(bytes(MIB), 5)
        answer = served.ask("POST", "/packages", data=data, headers={"Content-Type": "application/zip"})
        assert answer.status == 413
        assert_problem(answer.body)
        until(lambda: set(os.listdir("/proc/self/fd")) <= before)

    def test_a_package_of_just_too_many_bytes(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        """The form around it has room of its own; the package has not."""
        content = small()
        monkeypatch.setattr(catalogue, "MAX_UPLOAD", len(content))
        assert served.ask("POST", "/packages", files={"package": content}).status == 201
        monkeypatch.setattr(catalogue, "MAX_UPLOAD", len(content) - 1)
        assert served.ask("POST", "/packages", files={"package": content}).status == 413

    def test_a_long_name(self, served: Served) -> None:
        for name, shown in (("../../etc/passwd", "passwd"), ("x" * 300, "x" * 200)):
            answer = served.ask("POST", "/packages", files={"package": (name, small())})
            assert served.get(f"/packages/{answer.body['service_uuid']}").body["file"] == shown

    def test_packages_leave_no_files(
        self, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        before = len(os.listdir("/proc/self/fd"))
        package = served.onboard(small())
        served.ask("POST", "/packages", files={"package": b"PK no zip" * 100_000})
        assert list(tmp_path.iterdir()) == []
        served.ask("DELETE", f"/packages/{package}")
        until(lambda: len(os.listdir("/proc/self/fd")) <= before)


class TestLifecycle:
    def test_a_stop_that_fails_can_be_tried_again(self, served: Served, fake: FakeEmulation) -> None:
        served.onboard(small())
        instance = served.start({})
        fake.stop_fails = True
        answer = served.ask("DELETE", "/instantiations", json={})
        assert answer.status == 500
        assert "does not want to stop" in answer.body["detail"]
        assert served.running() == [[instance]]
        body = served.get(f"/instantiations/{instance}").body
        assert (body["state"], body["problem"]["error"]) == ("running", "stop failed")
        assert served.ask("DELETE", "/instantiations", json={}).status == 200

    def test_a_stop_waits_for_the_start(self, served: Served, fake: FakeEmulation) -> None:
        served.onboard(small())
        fake.hold.clear()
        begun = served.ask("POST", "/instantiations?wait=0", json={})
        instance = begun.body["service_instance_uuid"]
        assert served.get(f"/instantiations/{instance}").body["state"] == "starting"
        with ThreadPoolExecutor() as pool:
            ended = pool.submit(
                served.ask, "DELETE", "/instantiations", json={"service_instance_uuid": instance}
            )
            fake.hold.set()
            assert ended.result(10).status == 200
        assert fake.left() == []

    def test_a_package_is_held_by_a_start(self, served: Served, fake: FakeEmulation) -> None:
        package = served.onboard(small())
        fake.hold.clear()
        begun = served.ask("POST", "/instantiations?wait=0", json={})
        assert served.ask("DELETE", f"/packages/{package}").status == 409
        fake.hold.set()
        until(lambda: served.get(begun.headers["Location"]).body["state"] == "running")

    def test_what_others_start_and_stop(self, served: Served, fake: FakeEmulation) -> None:
        """A test's own instance is listed behind the packages', and one that it stops is forgotten."""
        other = Served(fake, fake.left)
        served.onboard(small(name="mine"))
        other.onboard(small(name="theirs"))
        mine, theirs = served.start({}), other.start({})
        assert served.running() == [[mine], [theirs]]
        assert other.running() == [[theirs], [mine]]
        body = served.get(f"/instantiations/{theirs}").body
        assert (body["service_uuid"], body["state"], body["service"]) == (None, "running", "theirs")
        assert served.ask("DELETE", "/instantiations", json={}).body.endswith(f"'{theirs}' stopped.")
        assert other.running() == [[], [mine]]
        assert other.get(f"/instantiations/{theirs}").status == 404
        other.close()

    def test_an_error_nobody_thought_of(
        self, served: Served, fake: FakeEmulation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_arguments: object) -> None:
            raise ZeroDivisionError("one over nothing")

        served.onboard(small())
        monkeypatch.setattr(fake, "start", fail)
        answer = served.ask("POST", "/instantiations", json={})
        assert answer.status == 500
        assert "ZeroDivisionError: one over nothing" in answer.body["detail"]
        assert "Traceback" not in answer.body["detail"]
        assert served.running() == [[]]

    def test_a_bed_that_is_gone(self, served: Served, fake: FakeEmulation) -> None:
        served.onboard(small())
        fake.gone = True
        assert served.get("/health").body["status"] == "gone"
        for answer in (
            served.get("/instantiations"),
            served.ask("DELETE", "/instantiations", json={}),
        ):
            assert answer.status == 503
            assert "gone" in answer.body["detail"]

    def test_failures_are_not_kept_for_ever(self, served: Served) -> None:
        served.onboard(small())
        lost = {"vnfs": {"fw": {"image": "nobody.invalid/x"}}}
        for _ in range(120):
            served.ask("POST", "/instantiations", json=lost)
        assert len(served.gatekeeper.lifecycle._instances) <= 101

    def test_exit(self, fake: FakeEmulation) -> None:
        """The answer comes first, and a second request is answered as the first."""
        asked = threading.Event()
        served = Served(fake, fake.left, shut_down=asked.set)
        for _ in range(2):
            answer = served.ask("PUT", "/emulator/exit", data=b"whatever")
            assert (answer.status, answer.body) == (200, None)
        assert asked.wait(5)
        served.close()

    def test_no_start_after_the_end(self, served: Served) -> None:
        served.onboard(small())
        served.gatekeeper.lifecycle.close()
        assert served.ask("POST", "/instantiations", json={}).status == 503

    def test_pops_may_be_filled_further(self, fake: FakeEmulation, served: Served) -> None:
        fake.topology = Topology((PoP("pop1", cpu=1.0),))
        served.onboard(small())
        wish: dict[str, object] = {"vnfs": {"fw": {"cpu": 1.5}}}
        refused = served.ask("POST", "/instantiations", json=wish)
        assert refused.status == 500
        assert "overprovision, now 1" in refused.body["detail"]
        instance = served.start({**wish, "overprovision": 1.5})
        assert served.get(f"/instantiations/{instance}").body["ignored"] == []

    def test_what_is_said_of_a_refusal(self, served: Served) -> None:
        answer = served.ask("POST", "/packages", files={"package": ("broken.son", b"text")})
        assert answer.status == 500
        (line,) = [line for line in served.said if line.startswith("refused")]
        assert line.startswith("refused broken.son: broken.son cannot be used as a service package")
        assert line.count("cannot be used as a service package") == 1

    def test_a_start_that_failed_is_said_with_the_packages_own_name(self, served: Served) -> None:
        served.onboard(small(vm_image="nobody.invalid/x"))
        assert served.ask("POST", "/instantiations", json={}).status == 500
        (line,) = [line for line in served.said if "failed to start" in line]
        assert "/proc/" not in line

    def test_it_is_said_that_a_service_runs_before_it_is_listed(
        self, fake: FakeEmulation, served: Served
    ) -> None:
        listed: list[tuple[str, bool]] = []
        lifecycle = Lifecycle(
            fake,
            served.gatekeeper.catalogue,
            lambda line: listed.append((line, any(lifecycle.listing()))),
        )
        served.onboard(small())
        instance = lifecycle.start(Wish())
        assert listed[-1] == (f"small runs as {instance.uuid}", False)
        assert any(lifecycle.listing())


class TestOpenapi:
    def test_it_describes_what_is_served(self, served: Served) -> None:
        described = {
            (path, method.upper()) for path, methods in document()["paths"].items() for method in methods
        }
        served_here = {
            (rule.rule.replace("<", "{").replace(">", "}"), method)
            for rule in make_app(served.gatekeeper).url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        }
        assert described == served_here

    def test_it_is_served(self, served: Served) -> None:
        assert served.get("/openapi.json").body == document()

    def test_its_schemas_are_schemas(self) -> None:
        for schema in document()["components"]["schemas"].values():
            Draft202012Validator.check_schema(schema)

    def test_every_operation_has_a_name_of_its_own(self) -> None:
        ids = [one["operationId"] for methods in document()["paths"].values() for one in methods.values()]
        assert len(ids) == len(set(ids))


class TestClient:
    def test_packages(self, client: GatekeeperClient, tmp_path: Path) -> None:
        path = tmp_path / "two words.son"
        path.write_bytes(small())
        sent: list[tuple[int, int]] = []
        onboarded = client.onboard(path, lambda done, size: sent.append((done, size)))
        assert sent[-1] == (len(small()), len(small()))
        again = client.onboard_bytes(small())
        assert client.packages() == (onboarded.service_uuid, again.service_uuid)
        assert client.package(onboarded.service_uuid).file == "two words.son"
        assert client.remove(onboarded.service_uuid).service == "small"
        assert client.packages() == (again.service_uuid,)

    def test_instances(self, client: GatekeeperClient) -> None:
        package = client.onboard_bytes(small()).service_uuid
        first = client.start(package, placement={"fw": "pop2"})
        assert client.instance(first).vnfs[0].pop == "pop2"
        second = client.start(service_name="small")
        begun = client.begin(package)
        assert client.wait_until_running(begun).state == "running"
        assert client.instances() == ((first, second, begun),)
        assert client.stop(first) == f"service instance with uuid '{first}' stopped."
        client.stop(service_uuid=package)
        client.stop()
        assert client.instances() == ((),)

    def test_the_bed(self, client: GatekeeperClient) -> None:
        assert client.wait_ready().status == "ok"
        assert [pop.name for pop in client.topology().pops] == ["pop1", "pop2"]
        assert client.openapi() == document()
        with pytest.raises(GatekeeperError, match="403") as caught:
            client.exit()
        assert caught.value.status == 403

    def test_a_gone_bed_has_a_health(self, client: GatekeeperClient, fake: FakeEmulation) -> None:
        fake.gone = True
        assert client.health().status == "gone"

    def test_refusals(self, client: GatekeeperClient, tmp_path: Path) -> None:
        with pytest.raises(GatekeeperError, match="404: Service not found"):
            client.start()
        with pytest.raises(GatekeeperError, match="not a zip archive") as caught:
            client.onboard_bytes(b"text")
        assert caught.value.status == 500
        assert "zip" in caught.value.detail
        with pytest.raises(GatekeeperError, match="cannot read"):
            client.onboard(tmp_path / "missing.son")
        client.onboard_bytes(small())
        begun = client.begin(vnfs={"fw": {"image": "nobody.invalid/x"}})
        with pytest.raises(GatekeeperError, match=r"nobody\.invalid"):
            client.wait_until_running(begun)

    def test_nobody_there(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            client = GatekeeperClient(f"http://127.0.0.1:{unused.getsockname()[1]}/")
            with pytest.raises(GatekeeperError, match="no gatekeeper answers"):
                client.health()
            with pytest.raises(GatekeeperError, match="no gatekeeper answers"):
                client.wait_ready(timeout=0.1)

    def test_proxies_of_the_machine_are_not_asked(
        self, client: GatekeeperClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        assert client.health().status == "ok"


class _Parts:
    """A body of `count` times `part`, whose length is known before."""

    def __init__(self, part: bytes, count: int) -> None:
        self._part, self._count = part, count

    def __len__(self) -> int:
        return len(self._part) * self._count

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self._count):
            yield self._part


def _connects(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def test_who_asked_the_bed_before_an_instance_ended_does_not_stop_it_again(
    fake: FakeEmulation, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.onboard(small())
    served.start({})
    ask = fake.instances
    other: list[int] = []

    def and_meanwhile_another_stops_it() -> Any:
        known = ask()
        monkeypatch.setattr(fake, "instances", ask)
        other.append(served.ask("DELETE", "/instantiations", json={}).status)
        return known

    monkeypatch.setattr(fake, "instances", and_meanwhile_another_stops_it)
    assert served.ask("DELETE", "/instantiations", json={}).status == 404
    assert other == [200]

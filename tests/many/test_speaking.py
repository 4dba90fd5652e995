"""Programs and Python of this machine speak from an endpoint."""

from __future__ import annotations

import asyncio
import socket
import threading
import urllib.request
from collections.abc import Iterator

import pytest

from pytest_sonemu.descriptors.model import NetworkFunction, NetworkService
from pytest_sonemu.errors import NotReadyError, ProbeError
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed
from tests.support.static_image import static_image


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with static_image() as image, TestBed() as bed:
        server = NetworkFunction("server", image=image, interfaces=["data"])
        yield bed.start(
            NetworkService.of("spoken", [server], {"line": ["input", "server:data"], "other": ["a", "b"]})
        )


@pytest.fixture
def service(running: Service) -> Iterator[Service]:
    view = running.view()
    yield view
    assert view.close_view() == ()


def test_a_program_runs_beside_the_test(service: Service) -> None:
    a, b = service.sap("a"), service.sap("b")
    server = b.spawn(["python3", "-u", "-m", "http.server", "8080", "--bind", str(b.ip())])
    server.wait_for("Serving")
    assert server.running
    assert a.http(f"http://{b.ip()}:8080/").status_code == 200
    assert "GET / HTTP/1.1" in server.wait_for("GET")
    server.stop()
    assert server.exit_status == -15
    assert service.connect("a", "b", tcp=8080).outcome == "refused"


def test_a_program_ends_with_its_view(running: Service) -> None:
    view = running.view()
    process = view.sap("a").spawn("sleep 60")
    assert process.running
    assert view.close_view() == ()
    assert process.exit_status == -15


def test_what_a_program_says_at_its_end(service: Service) -> None:
    process = service.sap("a").spawn(["sh", "-c", "echo out; echo bad >&2; exit 3"])
    result = process.wait(5)
    assert (result.exit_status, result.stdout, result.stderr) == (3, "out\n", "bad\n")
    with pytest.raises(NotReadyError, match="ended without 'more'"):
        process.wait_for("more")
    with pytest.raises(ProbeError, match="no program 'there-is-none'"):
        service.sap("a").spawn("there-is-none")


def test_a_tool_in_a_vnf_without_tools(service: Service) -> None:
    assert ":80" in service.vnf("server").tool("ss -tln").check().stdout
    assert str(service.vnf("server").ip()) in service.vnf("server").tool("ip -br address").stdout
    with pytest.raises(ProbeError, match="no program 'no-tool'"):
        service.sap("a").tool("no-tool -x")


def test_python_speaks_from_a_sap(service: Service) -> None:
    before = socket.getaddrinfo
    init = socket.socket.__init__
    with service.sap("input").sockets():
        with urllib.request.urlopen("http://server/", timeout=5) as answer:
            assert answer.read() == b"static"
        with socket.create_connection(("server", 80), timeout=5) as made:
            assert made.getsockname()[0] == str(service.sap("input").ip())
            assert type(made) is socket.socket
        assert socket.gethostbyname("server") == str(service.vnf("server").ip())
        with pytest.raises(socket.gaierror, match="servr"):
            socket.create_connection(("servr", 80))
        # Handles, and what they speak with the bed, go on as ever.
        assert service.sap("a").ping("b", count=1).loss == 0
    assert socket.getaddrinfo is before
    assert socket.socket.__init__ is init


def test_blocks_may_be_nested_and_threads_are_their_own(service: Service) -> None:
    def own() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.bind((str(service.sap("a").ip()), 0))
            except OSError:
                return "elsewhere"
            return "at a"

    said: list[str] = []
    with service.sap("a").sockets():
        assert own() == "at a"
        thread = threading.Thread(target=lambda: said.append(own()))
        thread.start()
        thread.join()
        with service.sap("b").sockets():
            assert own() == "elsewhere"
        assert own() == "at a"
    assert own() == "elsewhere"
    assert said == ["elsewhere"]


def test_asyncio_speaks_from_a_sap(service: Service) -> None:
    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET / HTTP/1.1\r\nHost: server\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return answer

    async def by_block() -> list[bytes]:
        async def one() -> bytes:
            return await ask(*await asyncio.open_connection("server", 80))

        with service.sap("input").sockets():
            return list(await asyncio.gather(one(), one()))

    async def by_connection() -> bytes:
        made = service.sap("input").create_connection(("server", 80))
        return await ask(*await asyncio.open_connection(sock=made))

    assert all(answer.endswith(b"static") for answer in asyncio.run(by_block()))
    assert asyncio.run(by_connection()).endswith(b"static")

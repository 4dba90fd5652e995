"""Programs and Python of this machine speak from an endpoint."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import struct
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_sonemu.descriptors.model import NetworkFunction, NetworkService
from pytest_sonemu.errors import CapabilityError, NotReadyError, ProbeError
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


def interfaces_here() -> set[str]:
    return {name for _index, name in socket.if_nameindex()}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can enter a namespace")
def test_this_thread_is_in_a_sap(service: Service) -> None:
    a, b, outside = service.sap("a"), service.sap("b"), interfaces_here()
    server = b.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((str(b.ip()), 5000))
    server.settimeout(5)
    with a.namespace():
        assert interfaces_here() == {"lo", "a"}
        assert subprocess.check_output(["ip", "-br", "link"], text=True).splitlines()[1].startswith("a@")
        with ThreadPoolExecutor(1) as other:
            assert other.submit(interfaces_here).result() == {"lo", "a"}  # it was started in here
        with b.namespace():
            assert interfaces_here() == {"lo", "b"}
        assert interfaces_here() == {"lo", "a"}
        assert service.ping("a", "b", count=1).loss == 0
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    assert interfaces_here() == outside
    with made:
        made.sendto(b"from a", (str(b.ip()), 5000))
        assert server.recvfrom(99) == (b"from a", (str(a.ip()), made.getsockname()[1]))
    with pytest.raises(ZeroDivisionError), a.namespace():
        raise ZeroDivisionError
    assert interfaces_here() == outside


def test_who_has_no_rights_is_told_what_to_use_instead(service: Service) -> None:
    outside = interfaces_here()

    def enter_without_rights() -> set[str]:
        libc = ctypes.CDLL(None, use_errno=True)
        # Capabilities are a thread's own; 0x20080522 is the version of the two structures.
        assert libc.capset(struct.pack("Ii", 0x20080522, 0), bytes(24)) == 0
        with pytest.raises(CapabilityError, match=r"only root can enter .* 'a': use `with sockets\(\):`"):
            service.sap("a").namespace().__enter__()
        return interfaces_here()

    with ThreadPoolExecutor(1) as other:
        assert other.submit(enter_without_rights).result() == outside


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

"""HTTP from an endpoint, over real namespaces, with a real server in one of them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from pytest_sonemu.errors import NotFoundError
from pytest_sonemu.handles import http
from tests.links.kernel_bed import KernelBed


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"{self.client_address[0]} {self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(("", 0), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock


@pytest.fixture
def server(bed: KernelBed) -> Iterator[Server]:
    server = Server(bed.listen("server", 80))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def session(bed: KernelBed) -> Iterator[requests.Session]:
    source = bed.plan.endpoint("input")
    assert source is not None
    with closing(
        http.session(bed, "svc", "input", http.plan_resolver(bed.plan, source), timeout=0.4)
    ) as session:
        yield session


def test_a_name_of_the_plan_is_asked_from_the_endpoint(
    server: Server, session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9/")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    answer = session.get("http://server/")
    assert answer.status_code == 200
    assert answer.text == "10.30.0.1 server"
    assert session.get("http://10.30.1.2/").text == "10.30.0.1 10.30.1.2"


def test_what_fails_says_where(bed: KernelBed, session: requests.Session) -> None:
    with pytest.raises(
        requests.ConnectionError, match=r"input -> server \(10.30.1.2\) port 80: Connection refused"
    ):
        session.get("http://server/")
    bed.spaces["fw"].nft("table ip t { chain c { type filter hook forward priority 0; drop; }; }")
    with pytest.raises(requests.ConnectTimeout):
        session.get("http://server/")
    with pytest.raises(NotFoundError, match="no host name 'servr'; there are: server"):
        session.get("http://servr/")


def test_a_session_survives_being_emptied(server: Server, session: requests.Session) -> None:
    assert session.get("http://server/").ok
    session.close()
    assert session.get("http://server/").ok

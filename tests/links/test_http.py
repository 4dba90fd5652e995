"""HTTP from an endpoint, over real namespaces, with a real server in one of them."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from pytest_sonemu.errors import NotFoundError
from pytest_sonemu.handles import http
from tests.links.kernel_bed import KernelBed, PlanBuilder


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"{self.client_address[0]} {self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(("", 0), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock


@contextmanager
def running(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server(bed: KernelBed) -> Iterator[Server]:
    with running(Server(bed.listen("server", 80))) as server:
        yield server


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


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_tls_checks_the_name_of_the_url(bed: KernelBed, session: requests.Session, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=server",
         "-addext", "subjectAltName=DNS:server", "-keyout", str(key), "-out", str(certificate)],
        capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with running(Server(context.wrap_socket(bed.listen("server", 443), server_side=True))):
        assert session.get("https://server/", verify=str(certificate)).text == "10.30.0.1 server"
        with pytest.raises(requests.exceptions.SSLError, match=r"10\.30\.1\.2"):
            session.get("https://10.30.1.2/", verify=str(certificate))
        with pytest.raises(requests.exceptions.SSLError, match=r"self.signed"):
            session.get("https://server/")


def test_ids_need_not_be_lower_case(bed: KernelBed) -> None:
    builder = PlanBuilder()
    builder.link("l", "input", "Web_1:data")
    source = builder.build().endpoint("input")
    assert source is not None
    assert str(http.plan_resolver(builder.build(), source)("web_1")) == "10.30.0.2"

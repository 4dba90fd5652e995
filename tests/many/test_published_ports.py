"""Ports of VNFs reached from the machine itself: published by the package, or forwarded by a test."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import requests

from pytest_sonemu.descriptors.model import NetworkFunction, NetworkService, PublishedPort, Unit
from pytest_sonemu.emulation.image_choice import BASE_IMAGE
from pytest_sonemu.errors import EmulationError
from pytest_sonemu.handles.endpoint import Endpoint
from pytest_sonemu.handles.results import OuterAddress
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed

READY = {"*": {"ready": "exec:true"}}


def free_port() -> int:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def published(*ports: PublishedPort) -> NetworkService:
    vnf = NetworkFunction("web", interfaces=(), units=(Unit("u", image=BASE_IMAGE, publish=ports),))
    return NetworkService("published", (vnf,))


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    with TestBed() as bed:
        yield bed


@pytest.fixture(scope="module")
def service(bed: TestBed) -> Service:
    vnf = NetworkFunction("web", image=BASE_IMAGE, interfaces=["data"])
    return bed.start(NetworkService.of("plain", [vnf], {"l": ["user", "web:data"]}), vnfs=READY)


@pytest.fixture
def view(service: Service) -> Iterator[Service]:
    view = service.view()
    yield view
    assert not view.close_view()


class Echo:
    """A TCP server in an endpoint's namespace that sends back what it got, once it got all of it."""

    def __init__(self, endpoint: Endpoint, port: int, address: str = "0.0.0.0") -> None:
        self.listener = endpoint.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, port))
        self.listener.listen(8)
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._echo, args=(connection,), daemon=True)
            thread.start()

    def _echo(self, connection: socket.socket) -> None:
        parts = []
        with connection, suppress(ConnectionError):
            connection.settimeout(10)
            while data := connection.recv(1 << 16):
                parts.append(data)
            connection.sendall(b"".join(parts))

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def exchange(address: OuterAddress, data: bytes) -> bytes:
    with closing(socket.create_connection(address, timeout=10)) as sock:

        def send() -> None:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        parts = []
        while part := sock.recv(1 << 16):
            parts.append(part)
        sender.join(10)
    return b"".join(parts)


def test_a_forwarded_port_carries_both_ways_and_ends_with_the_view(service: Service) -> None:
    view = service.view()
    web = view.vnf("web")
    address = web.forward(80)
    assert address.host == "127.0.0.1"
    assert web.published == {80: address}
    assert web.forward(80) == address
    data = bytes(range(256)) * 40_000  # more than fits into any buffer on the way
    with closing(Echo(web, 80)):
        assert exchange(address, data) == data
        threads = [threading.Thread(target=exchange, args=(address, data[:100_000])) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in threads)
    view.close_view()
    assert service.vnf("web").published == {}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)


def test_a_real_server_in_the_container(view: Service) -> None:
    web = view.vnf("web")
    web.exec("mkdir -p /tmp/www && echo hello > /tmp/www/index.html", check=True)
    server = threading.Thread(target=web.exec, args=("timeout 20 busybox httpd -f -p 8080 -h /tmp/www",))
    server.start()
    web.wait_for_port(8080)
    assert requests.get(f"http://{web.forward(8080)}/", timeout=5).text == "hello\n"
    web.exec("pkill -x busybox || killall busybox")
    server.join(25)


def test_where_nobody_listens_the_connection_is_reset(view: Service) -> None:
    address = view.vnf("web").forward(81)
    with closing(socket.create_connection(address, timeout=5)) as sock, pytest.raises(ConnectionResetError):
        sock.recv(1)


def test_a_server_on_one_address_only_is_found(view: Service) -> None:
    web = view.vnf("web")
    with closing(Echo(web, 82, address=str(web.ip()))):
        assert exchange(web.forward(82), b"found") == b"found"


def test_a_sap_has_ports_too(view: Service) -> None:
    user = view.sap("user")
    with closing(Echo(user, 83)):
        assert exchange(user.forward(83), b"sap") == b"sap"


def test_datagrams_find_there_and_back(view: Service) -> None:
    web = view.vnf("web")
    address = web.forward(53, protocol="udp")
    with closing(web.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind(("0.0.0.0", 53))
        server.settimeout(5)
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for number, client in enumerate(clients):
            client.settimeout(5)
            client.sendto(f"question {number}".encode(), address)
            question, who = server.recvfrom(100)
            server.sendto(question.replace(b"question", b"answer"), who)
        assert [client.recv(100) for client in clients] == [b"answer 0", b"answer 1"]
        for client in clients:
            client.close()


def test_an_outer_port_of_ones_own_choice(view: Service) -> None:
    wanted = free_port()
    assert view.vnf("web").forward(84, outer=wanted).port == wanted
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        taken = other.getsockname()[1]
        with pytest.raises(EmulationError, match=rf"cannot listen on 127\.0\.0\.1 port {taken}/tcp.*another"):
            view.vnf("web").forward(85, outer=taken)


def test_a_forward_outlives_a_restart_and_holds_no_namespace(view: Service) -> None:
    web = view.vnf("web")
    address = web.forward(86)
    with closing(Echo(web, 86)), closing(socket.create_connection(address, timeout=5)) as held:
        held.sendall(b"unfinished")
        web.restart()
        with pytest.raises(ConnectionResetError):
            held.recv(1)
    with closing(Echo(web, 86)):
        assert exchange(address, b"again") == b"again"


def test_what_a_package_publishes_is_there_while_it_runs(bed: TestBed) -> None:
    wanted = free_port()
    package = published(PublishedPort(3000, outer=wanted), PublishedPort(3001))
    service = bed.start(package, vnfs=READY)
    web = service.vnf("web")
    assert set(web.published) == {3000, 3001}
    assert web.published[3000] == ("127.0.0.1", wanted)
    with closing(Echo(web, 3000)):
        assert exchange(web.published[3000], b"published") == b"published"
    second = bed.start(package, vnfs=READY)
    assert second.vnf("web").published[3000].port != wanted
    assert any(f"port 3000 is outside {second.vnf('web').published[3000].port}" in note for note in bed.notes)
    addresses = [*web.published.values(), *second.vnf("web").published.values()]
    service.stop()
    second.stop()
    for address in addresses:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=5)


def test_ports_are_open_to_this_machine_only(view: Service) -> None:
    address = view.vnf("web").forward(87)
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert f"0100007F:{address.port:04X}" in listening
    assert f"00000000:{address.port:04X}" not in listening

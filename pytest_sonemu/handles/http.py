"""HTTP from an endpoint: a `requests.Session` on sockets of its namespace.

Importing this module imports requests.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.poolmanager import PoolManager

from pytest_sonemu.errors import NotFoundError
from pytest_sonemu.handles.factory import SocketFactory
from pytest_sonemu.handles.targets import find_target
from pytest_sonemu.planning.plan import Address, DeploymentPlan, EndpointPlan

Resolve = Callable[[str], Address | str]
TIMEOUT = 10.0


def session(
    factory: SocketFactory, instance: str, endpoint: str, resolve: Resolve, *, timeout: float | None = TIMEOUT
) -> requests.Session:
    """A session whose connections start at `endpoint`, with names resolved by `resolve`.

    Nothing of the machine's own settings is used (proxies, .netrc), nothing is tried twice. TLS checks
    the name that the URL says. `timeout` in seconds holds for each connect and read of a request that
    sets none. `close()` drops the connections that are kept, and the session can still be used.
    """
    made = _Session(timeout)
    made.trust_env = False

    def open_socket(family: int) -> socket.socket:
        return factory.socket(instance, endpoint, family, socket.SOCK_STREAM)

    adapter = _Adapter(open_socket, endpoint, resolve)
    made.mount("http://", adapter)
    made.mount("https://", adapter)
    return made


def plan_resolver(plan: DeploymentPlan, source: EndpointPlan) -> Callable[[str], Address]:
    """Names as `source` sees them: its hosts file, then the instance's endpoints. Raises NotFoundError."""

    def resolve(name: str) -> Address:
        known = {host.lower(): address for host, address in source.hosts}
        if name.lower() in known:
            return known[name.lower()]
        # A URL's host is lower-case, an endpoint's id need not be.
        written = {endpoint.id.lower(): endpoint.id for endpoint in plan.endpoints}
        try:
            return find_target(plan, written.get(name.lower(), name), source).address
        except NotFoundError as error:
            raise NotFoundError("host name", name, dict.fromkeys((*known, *error.existing))) from None

    return resolve


class _Session(requests.Session):
    def __init__(self, timeout: float | None) -> None:
        super().__init__()
        self._timeout = timeout

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs.setdefault("timeout", self._timeout)
        return super().request(method, url, *args, **kwargs)


class _Adapter(HTTPAdapter):
    """Connections come from a factory; everything else is as requests does it."""

    def __init__(self, open_socket: Callable[[int], socket.socket], source: str, resolve: Resolve) -> None:
        self._open_socket, self._source, self._resolve = open_socket, source, resolve
        super().__init__(max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        manager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **kwargs)
        manager.pool_classes_by_scheme = self._pools()
        self.poolmanager = manager

    def _pools(self) -> dict[str, type]:
        dial = self._dial

        class Connection(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return dial(self)

        class SecureConnection(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return dial(self)

        class Pool(HTTPConnectionPool):
            ConnectionCls = Connection

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = SecureConnection

        return {"http": Pool, "https": SecurePool}

    def _dial(self, connection: HTTPConnection) -> socket.socket:
        address = ip_address(self._resolve(connection.host.strip("[]")))
        where = f"{self._source} -> {connection.host} ({address}) port {connection.port}"
        sock = self._open_socket(socket.AF_INET if address.version == 4 else socket.AF_INET6)
        try:
            sock.settimeout(connection.timeout if isinstance(connection.timeout, (int, float)) else None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect((str(address), connection.port))
        except TimeoutError as error:
            sock.close()
            raise ConnectTimeoutError(connection, f"{where}: no answer in {connection.timeout} s") from error
        except OSError as error:
            sock.close()
            raise NewConnectionError(connection, f"{where}: {error.strerror or error}") from error
        return sock

"""How we reach Docker: one low-level client, a time limit on every call, errors that say what mends them.

`connect` finds the daemon as the `docker` command does (argument, DOCKER_HOST, docker context, default
socket) and says which of three cases it is when none answers: no permission, not running, or a kind of
Docker whose containers are not processes of this machine.
"""

from __future__ import annotations

import errno
import getpass
import grp
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
import requests
from docker.context import ContextAPI
from docker.errors import APIError, DockerException, ImageNotFound
from docker.utils import kwargs_from_env
from urllib3.exceptions import ReadTimeoutError

from pytest_sonemu.errors import EmulationError, MachineError

DEFAULT_SOCKET = "/var/run/docker.sock"
CALL_SECONDS = 60.0
CONNECT_SECONDS = 5.0
OLDEST_API = (1, 41)  # Docker 20.10
POOL = 16


class DockerClient(docker.APIClient):
    """The SDK's client, which also knows the address of its daemon (`unix:///…` or `tcp://…`)."""

    docker_host: str = f"unix://{DEFAULT_SOCKET}"

    def open(self) -> socket.socket:
        """A bare connection to the daemon, for streams that leave HTTP behind."""
        parts = urlsplit(self.docker_host)
        if parts.scheme == "unix":
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(CONNECT_SECONDS)
            connection.connect(parts.path)
            return connection
        return socket.create_connection((parts.hostname or "localhost", parts.port or 2375), CONNECT_SECONDS)


def connect(docker_host: str | None = None, timeout: float | None = CALL_SECONDS) -> DockerClient:
    """A client of the Docker daemon that the `docker` command would use.

     `docker_host` wins over DOCKER_HOST, and that over DOCKER_CONTEXT and the chosen docker context.
     `timeout` is in seconds, for each call (None only for the stream of events).
    Raises MachineError with the command that mends it.
    """
    host, tls = find_host(docker_host, os.environ)
    parts = urlsplit(host)
    if parts.scheme == "unix":
        _try_socket(parts.path)
    elif parts.scheme not in {"tcp", "http", "https"}:
        raise MachineError(
            f"Docker is at {host}, which is another machine, and containers must run on this one: "
            "unset DOCKER_HOST, or `docker context use default`"
        )
    try:
        settings: dict[str, Any] = {"timeout": timeout, "tls": tls, "max_pool_size": POOL}
        client = DockerClient(base_url=host, version="auto", **settings)
    except (DockerException, requests.RequestException) as error:
        raise MachineError(f"Docker at {host} does not answer: {error}; {start_hint()}") from error
    client.docker_host = host
    if tuple(int(part) for part in client.api_version.split(".")) < OLDEST_API:
        client.close()
        raise MachineError(
            f"Docker at {host} speaks API {client.api_version}; it takes Docker 20.10 (API 1.41) or later"
        )
    return client


def find_host(docker_host: str | None, environ: Mapping[str, str]) -> tuple[str, Any]:
    """Address of the daemon and TLS settings (False for none), found as the `docker` command finds them."""
    if docker_host:
        return docker_host, False
    if environ.get("DOCKER_HOST"):
        settings = kwargs_from_env(dict(environ))
        return environ["DOCKER_HOST"], settings.get("tls", False)
    name = environ.get("DOCKER_CONTEXT") or None
    context = ContextAPI.get_context(name)
    if context is None:
        raise MachineError(
            f"there is no docker context '{name}'; see `docker context ls`, or unset DOCKER_CONTEXT"
        )
    if context.Name == "default" or not context.Host:
        return f"unix://{DEFAULT_SOCKET}", False
    return str(context.Host).replace("http+unix://", "unix://"), context.TLSConfig


def refuse_unsupported(client: docker.APIClient) -> str:
    """Refuse kinds of Docker whose containers are not processes of this machine; else say what it is.

    Returns e.g. `"Docker 20.10.24"`. Raises MachineError for Docker Desktop and rootless Docker; a remote
    daemon or a mounted socket is found by `sees_process` on a container.
    """
    info, version = client.info(), client.version()
    if "desktop" in str(info.get("OperatingSystem", "")).lower():
        raise MachineError(
            "this is Docker Desktop: its containers live in a virtual machine and cannot be wired from here; "
            "install Docker Engine (docker.io or docker-ce) and `docker context use default`"
        )
    if any("rootless" in str(option) for option in info.get("SecurityOptions") or ()):
        raise MachineError(
            "this is rootless Docker: its containers stand in a user namespace and cannot be wired; "
            "start the system's daemon (sudo systemctl start docker) and `docker context use default`"
        )
    engine = next(
        (str(part.get("Name")) for part in version.get("Components") or () if part.get("Name")), "Docker"
    )
    return f"{'Podman' if 'podman' in engine.lower() else 'Docker'} {version.get('Version', '?')}"


def sees_process(pid: int, container_id: str) -> bool:
    """Whether `pid` here is really a process of that container: its control group carries the id."""
    try:
        return container_id in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False


def inspect_image(client: docker.APIClient, reference: str) -> dict[str, Any] | None:
    """What Docker says of a local image, or None. Raises MachineError if Docker does not answer."""
    try:
        image: dict[str, Any] = client.inspect_image(reference)
    except ImageNotFound:
        return None
    except (DockerException, requests.RequestException) as error:
        raise MachineError(f"Docker does not say whether image '{reference}' is there: {error}") from error
    return image


def start_hint() -> str:
    """How Docker is started, or installed, on this machine."""
    if not shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/bin"):
        return "install Docker Engine: sudo apt-get install docker.io"
    if Path("/run/systemd/system").is_dir():
        return "start it: sudo systemctl start docker"
    return "start it: sudo sh -c 'setsid dockerd </dev/null >/var/log/dockerd.log 2>&1 &'"


def _try_socket(path: str) -> None:
    """Connect once by hand: the error number tells the cases apart, which the SDK's message does not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_SECONDS)
        try:
            probe.connect(path)
            return
        except PermissionError as error:
            raise MachineError(_permission_message(path)) from error
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ECONNREFUSED}:
                raise MachineError(
                    f"Docker's socket {path} cannot be used: {error}; {start_hint()}"
                ) from error
            raise MachineError(
                f"Docker does not run ({path}: {error.strerror}); {_other_docker() or start_hint()}"
            ) from error


def _permission_message(path: str) -> str:
    user = getpass.getuser()
    try:
        group = grp.getgrgid(Path(path).stat().st_gid)
        name, members = group.gr_name, group.gr_mem
    except (OSError, KeyError):
        name, members = "docker", []
    if user in members:
        mend = f"you are in group {name} since your last login: log in again, or run `newgrp {name}`"
    else:
        mend = f"run `sudo usermod -aG {name} {user}` and log in again"
    return f"Docker's socket {path} does not let user {user} in; {mend}"


def _other_docker() -> str:
    """Name Docker Desktop or rootless Docker where one of them is there instead."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    if (Path.home() / ".docker" / "desktop" / "docker.sock").exists():
        return f"there is Docker Desktop, whose containers cannot be wired from here; {start_hint()}"
    if Path(runtime, "docker.sock").exists():
        return f"there is rootless Docker, whose containers cannot be wired; {start_hint()}"
    return ""


@contextmanager
def calling(what: str) -> Iterator[None]:
    """Turn Docker's errors into ours: `with calling("start container fw"): …`."""
    try:
        yield
    except APIError as error:
        raise EmulationError(f"{what}: {error.explanation or error}") from error
    except requests.Timeout as error:
        raise MachineError(f"{what}: Docker did not answer in time; is the machine overloaded?") from error
    except (DockerException, requests.RequestException, OSError) as error:
        raise MachineError(f"{what}: Docker cannot be reached ({error}); {start_hint()}") from error


class StreamTimeout(Exception):
    """Nothing came for `seconds`; `started` tells whether anything had come before."""

    def __init__(self, seconds: float, started: bool) -> None:
        super().__init__(f"nothing came for {seconds:g} s")
        self.seconds, self.started = seconds, started


def post_stream(
    client: docker.APIClient,
    path: str,
    *,
    params: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    data: Any = None,
    first: float,
    idle: float,
    total: float | None = None,
) -> Iterator[dict[str, Any]]:
    """POST and yield the JSON objects of the answer as they come.

    `first` seconds until the answer begins, `idle` between two parts of it, `total` for all. Leaving the
    iteration closes the connection, which makes Docker give the work up. Raises StreamTimeout, APIError.
    """
    url = f"{client.base_url}/v{client.api_version}{path}"
    end = None if total is None else time.monotonic() + total
    try:
        response = client.post(
            url,
            params=dict(params),
            headers=dict(headers or {}),
            data=data,
            stream=True,
            timeout=(CONNECT_SECONDS, first),
        )
    except requests.Timeout as error:
        raise StreamTimeout(first, started=False) from error
    with response:
        if response.status_code >= 400:
            raise APIError(
                f"{response.status_code} of {path}", response=response, explanation=_explanation(response)
            )
        pieces = response.iter_content(chunk_size=None)
        buffer = b""
        while (piece := _next_piece(response, pieces, idle, end)) is not None:
            *lines, buffer = (buffer + piece).split(b"\n")
            yield from (json.loads(line) for line in lines if line.strip())
        if buffer.strip():
            yield json.loads(buffer)


def _next_piece(
    response: requests.Response, pieces: Iterator[bytes], idle: float, end: float | None
) -> bytes | None:
    limit = idle if end is None else min(idle, end - time.monotonic())
    if limit <= 0:
        raise StreamTimeout(0.0, started=True)
    # The time-out of the request itself was for its first byte; the connection's socket takes another.
    connection = getattr(response.raw, "connection", None)
    if connection is not None and connection.sock is not None:
        connection.sock.settimeout(limit)
    try:
        return next(pieces, None)
    except requests.ConnectionError as error:
        if error.args and isinstance(error.args[0], ReadTimeoutError):
            raise StreamTimeout(limit, started=True) from error
        raise


def _explanation(response: requests.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return response.text

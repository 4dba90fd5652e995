"""What the set-up makes of the Docker it finds."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "docker_state.py"


def state(docker_host: str, home: Path) -> str:
    done = subprocess.run(
        [sys.executable, SCRIPT],
        env={**os.environ, "DOCKER_HOST": docker_host, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.strip()


@contextmanager
def daemon(path: Path, answer: bytes) -> Iterator[None]:
    """A Docker of one request, on a Unix socket."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        stack.callback(thread.join, 10)
        yield


def info(**fields: Any) -> bytes:
    body = json.dumps(fields).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (info(OperatingSystem="Debian GNU/Linux 12", SecurityOptions=["name=seccomp"]), "running"),
        (info(OperatingSystem="Debian GNU/Linux 12", SecurityOptions=None), "running"),
        (info(OperatingSystem="Docker Desktop", SecurityOptions=[]), "desktop"),
        (info(OperatingSystem="Ubuntu 24.04", SecurityOptions=["name=seccomp", "name=rootless"]), "rootless"),
        (b"", "silent"),
        (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops", "silent"),
    ],
)
def test_the_answer_of_a_daemon(tmp_path: Path, answer: bytes, expected: str) -> None:
    path = tmp_path / "docker.sock"
    with daemon(path, answer):
        assert state(f"unix://{path}", tmp_path) == expected


def test_a_socket_without_a_daemon_is_silent(tmp_path: Path) -> None:
    assert state(f"unix://{tmp_path}/none.sock", tmp_path) == "silent"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may talk to every socket")
def test_a_closed_socket_is_denied(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0)
        assert state(f"unix://{path}", tmp_path) == "denied"


@pytest.mark.parametrize("host", ["tcp://192.0.2.1:2375", "ssh://somewhere"])
def test_a_daemon_elsewhere_is_remote_and_not_asked(tmp_path: Path, host: str) -> None:
    assert state(host, tmp_path) == "remote"

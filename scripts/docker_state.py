"""How Docker stands on this machine, in one word; the standard library only, it runs before .venv exists.

running     a dockerd of this machine answers
denied      there is one, but this user may not talk to it
silent      nothing listens
desktop, rootless, remote   one that cannot be used: its containers are not this kernel's or not ours to wire
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from pathlib import Path

TIMEOUT = 10.0


def socket_path() -> Path | None:
    """The Unix socket that Docker's clients would use; None where DOCKER_HOST is something else."""
    host = os.environ.get("DOCKER_HOST", "") or "unix:///var/run/docker.sock"
    return Path(host.removeprefix("unix://")) if host.startswith("unix://") else None


def docker_state() -> str:
    path = socket_path()
    if path is None:
        return "remote"
    connection = http.client.HTTPConnection("localhost", timeout=TIMEOUT)
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(TIMEOUT)
        connection.sock.connect(str(path))
        connection.request("GET", "/info")
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            return "silent"
        info = json.load(response)
    except PermissionError:
        return "denied"
    except (OSError, ValueError, http.client.HTTPException):
        desktop = Path.home() / ".docker" / "desktop" / "docker.sock"
        return "desktop" if desktop.exists() and not Path("/usr/bin/dockerd").exists() else "silent"
    finally:
        connection.close()
    if info.get("OperatingSystem") == "Docker Desktop":
        return "desktop"
    return "rootless" if "name=rootless" in (info.get("SecurityOptions") or []) else "running"


if __name__ == "__main__":
    print(docker_state())

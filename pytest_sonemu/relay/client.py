"""To start a relay and to steer it."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_sonemu.errors import EmulationError, SettingsError
from pytest_sonemu.relay.control import LENGTH, LONGEST
from pytest_sonemu.relay.model import FlowSpec, LinkSpec, flow_as_json, link_as_json


def relay_argv(listener: int, *, parent: int = 0, ordinary: bool = False) -> list[str]:
    """The command line of a relay, to be run in the network namespace of its interfaces.

    `listener` is the descriptor of a listening Unix socket, passed on (`pass_fds`); with `parent` (the
    starter's pid) the relay ends when that process is gone.
    """
    argv = [
        sys.executable,
        "-I",
        "-c",
        _START.format(root=str(Path(__file__).resolve().parents[2])),
        str(listener),
    ]
    if parent:
        argv += ["--parent", str(parent)]
    if ordinary:
        argv.append("--ordinary")
    return argv


# Its Python starts first: 0.2 s on an idle machine, 15 s on an emulated CPU that others use too.
START_SECONDS = 60.0
_START = (
    "import sys; sys.path.insert(0, {root!r}); from pytest_sonemu.relay.main import main; sys.exit(main())"
)


@dataclass(frozen=True, slots=True)
class Hello:
    """Who answers: which `engine` it runs, and whether it has real-time priority."""

    engine: str
    pid: int
    realtime: bool


class RelayClient:
    """One connection to a relay. Thread-safe: requests take turns.

    Raises EmulationError when the relay is gone or does not answer within `timeout`, SettingsError when it
    refuses; then nothing was changed.
    """

    def __init__(self, path: str | Path | socket.socket, timeout: float = 5.0) -> None:
        if isinstance(path, socket.socket):
            self._socket = path
        else:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                self._socket.connect(str(path))
            except OSError as error:
                self._socket.close()
                raise EmulationError(f"no relay answers at {path}: {error.strerror}") from error
        self._timeout = timeout
        self._lock = threading.Lock()

    def hello(self) -> Hello:
        """Who answers. Waits for a relay that is only starting; that it ended is an error at once."""
        answer = self._request({"op": "hello"}, max(self._timeout, START_SECONDS))
        return Hello(answer["engine"], answer["pid"], answer["realtime"])

    def change(
        self,
        links: Iterable[LinkSpec] = (),
        flows: Iterable[FlowSpec] = (),
        *,
        remove_links: Iterable[str] = (),
        remove_flows: Iterable[str] = (),
    ) -> None:
        """Add or replace links (by name) and flows (by ingress interface), remove others: all or nothing.

        A link that is replaced by an equal one goes on undisturbed; a changed impairment starts the numbering
        of its packets again. Interfaces are looked up by name at this moment: tell a flow again after its
        interface was made anew.
        """
        self._request(
            {
                "op": "change",
                "links": [link_as_json(link) for link in links],
                "flows": [flow_as_json(flow) for flow in flows],
                "remove_links": list(remove_links),
                "remove_flows": list(remove_flows),
            }
        )

    def counters(self) -> dict[str, Any]:
        return self._request({"op": "counters"})

    def stop(self) -> None:
        self._request({"op": "stop"})
        self.close()

    def close(self) -> None:
        self._socket.close()

    def _request(self, message: dict[str, Any], timeout: float | None = None) -> dict[str, Any]:
        body = json.dumps(message).encode()
        with self._lock:
            try:
                self._socket.settimeout(self._timeout if timeout is None else timeout)
                self._socket.sendall(LENGTH.pack(len(body)) + body)
                (length,) = LENGTH.unpack(self._exactly(LENGTH.size))
                answer = json.loads(self._exactly(min(length, LONGEST)))
            except (OSError, ValueError) as error:
                self._socket.close()
                raise EmulationError(f"the relay does not answer any more: {error}") from error
        if "error" in answer:
            raise SettingsError(answer["error"])
        result: dict[str, Any] = answer["ok"]
        return result

    def _exactly(self, length: int) -> bytes:
        parts = bytearray()
        while len(parts) < length:
            data = self._socket.recv(length - len(parts))
            if not data:
                raise ConnectionResetError("it has closed the connection")
            parts += data
        return bytes(parts)

"""Commands in a container as the image's author means them: Docker's exec, with its user and environment.

We speak the stream ourselves: the SDK reads it behind a buffered reader, which under load may have
swallowed the first bytes together with the answer's head.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pytest_sonemu.emulation.docker_api import DockerClient, calling, sees_process
from pytest_sonemu.emulation.processes import end_processes, start_time
from pytest_sonemu.errors import EmulationError, MachineError, ProbeError
from pytest_sonemu.handles.arguments import command_words
from pytest_sonemu.handles.results import CommandResult

HEAD_SECONDS = 60.0
KILL_SECONDS = 2.0
STDERR_STREAM = 2
# What Docker gives for a program that never began; a shell gives the same for one it does not find.
NOT_STARTED = frozenset({126, 127})


def exec_in_container(
    api: DockerClient,
    container: str,
    command: str | Sequence[str],
    *,
    user: str = "",
    env: Mapping[str, str] | None = None,
    stdin: str | bytes | None = None,
    timeout: float | None = 60.0,
    check: bool = False,
    workdir: str | None = None,
    where: str = "",
) -> CommandResult:
    """Run a command in a running container and wait for its end.

    A string is run by the container's `sh -c`, a sequence as it is. After `timeout` seconds (None: no
    limit) the command and what it has started are killed and ProbeError says what it wrote so far;
    ProbeError too if the program is not in the image, and, with `check`, for an exit status other
    than 0. `where` names the VNF in results and errors.
    """
    words = command_words(command)
    argv = ["sh", "-c", command] if isinstance(command, str) else words
    if not command:
        raise ProbeError(
            f"{where or container[:12]}: there is no command to run; write one, 'ip route' or a list"
        )
    shown = (command,) if isinstance(command, str) else tuple(argv)
    who = where or container[:12]
    started = time.monotonic()
    end = None if timeout is None else started + timeout
    with calling(f"exec in {who}"):
        created: dict[str, Any] = api.exec_create(
            container, argv, stdin=stdin is not None, user=user, environment=dict(env or {}), workdir=workdir
        )
    exec_id = str(created["Id"])
    data = stdin.encode() if isinstance(stdin, str) else stdin
    with closing(attach(api, exec_id, who)) as stream:
        ended = stream.converse(data, end)
        ended = ended and _wait_for_end(api, exec_id, end, who)
        if not ended:
            fate = _kill(api, container, exec_id, who)
            stream.converse(None, time.monotonic() + 0.2)
            raise ProbeError(_timed_out(who, shown, timeout, fate, stream.output))
    stdout, stderr = (stream.output[number].decode(errors="replace") for number in (1, 2))
    status, pid = outcome(api, exec_id, who)
    if pid == 0 and status in NOT_STARTED and says_why(stdout):
        raise ProbeError(cannot_run(who, argv, stdout))
    result = CommandResult(shown, status, stdout, stderr, time.monotonic() - started, where)
    return result.check() if check else result


def says_why(output: str) -> bool:
    """Whether what came from an exec is the runtime's word on why it did not begin."""
    return output.startswith(("OCI runtime exec failed", "unable to find user"))


def not_found(said: str) -> bool:
    """Whether the runtime says that the image has no such program."""
    return "executable file not found" in said or "no such file or directory" in said


def cannot_run(who: str, argv: Sequence[str], said: str) -> str:
    """Why a program did not begin; what the runtime `said` is put shortly where the cause is a usual one."""
    if not_found(said):
        why = f"the image has no program '{argv[0]}'"
        if argv[0] == "sh":
            why += "; a command that is a list of words needs no shell"
    elif "permission denied" in said:
        why = f"'{argv[0]}' in the image is not executable"
    else:
        why = said.strip()
    return f"{who}: `{shlex.join(argv)}` cannot be run: {why}"


def path_exists(api: DockerClient, container: str, path: str, where: str = "") -> bool:
    """Whether a path is there: by the container's own `test -e`, else as Docker sees its file system."""
    try:
        return exec_in_container(api, container, ["test", "-e", path], timeout=10.0, where=where).ok
    except ProbeError:
        url = f"{api.base_url}/v{api.api_version}/containers/{container}/archive"
        with calling(f"look for {path} in {where or container[:12]}"):
            return api.head(url, params={"path": path}, timeout=10.0).status_code == 200


class Demultiplexer:
    """Docker's multiplexed stream: 8 bytes of head (stream number, length), then a piece of output."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Pieces of output that are whole by now, each with its stream: 1 or 2."""
        self._buffer += data
        found = []
        while len(self._buffer) >= 8:
            length = int.from_bytes(self._buffer[4:8], "big")
            if len(self._buffer) < 8 + length:
                break
            stream = STDERR_STREAM if self._buffer[0] == STDERR_STREAM else 1
            found.append((stream, bytes(self._buffer[8 : 8 + length])))
            del self._buffer[: 8 + length]
        return found


class ExecStream:
    """What a command that was started by Docker writes, gathered; `first` came with Docker's answer."""

    def __init__(self, connection: socket.socket, first: bytes) -> None:
        self.connection, self.first = connection, first
        self._parts = Demultiplexer()
        self.output = {1: bytearray(), STDERR_STREAM: bytearray()}

    def close(self) -> None:
        self.connection.close()

    def converse(self, data: bytes | None, end: float | None) -> bool:
        """Write `data`, then close that side; read until the other side closes (True) or `end` (False)."""
        self.connection.setblocking(False)
        pending = memoryview(data or b"")
        writing = data is not None
        self._gather(self.first)
        self.first = b""
        while True:
            if writing and not pending:
                self.connection.shutdown(socket.SHUT_WR)
                writing = False
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return False
            readable, writable, _ = select.select([self.connection], [self.connection] * writing, [], left)
            if writable:
                try:
                    pending = pending[self.connection.send(pending) :]
                except (BrokenPipeError, ConnectionResetError):
                    writing = False  # the command has ended without reading all of it
            if readable:
                try:
                    piece = self.connection.recv(65536)
                except ConnectionResetError:
                    return True
                if not piece:
                    return True
                self._gather(piece)

    def _gather(self, data: bytes) -> None:
        for stream, part in self._parts.feed(data):
            self.output[stream] += part


def attach(api: DockerClient, exec_id: str, who: str, *, tty: bool = False) -> ExecStream:
    """Start an exec that was created, and hold its stream; that of one with a terminal is bare."""
    body = json.dumps({"Detach": False, "Tty": tty}).encode()
    head = (
        f"POST /v{api.api_version}/exec/{exec_id}/start HTTP/1.1\r\nHost: docker\r\n"
        "Content-Type: application/json\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with calling(f"exec in {who}"):
        connection = api.open()
    try:
        with calling(f"exec in {who}"):
            connection.settimeout(HEAD_SECONDS)
            connection.sendall(head.encode() + body)
            received = b""
            while b"\r\n\r\n" not in received:
                piece = connection.recv(4096)
                if not piece:
                    raise MachineError(f"exec in {who}: Docker closed the connection")
                received += piece
        answer, _, first = received.partition(b"\r\n\r\n")
        status = int(answer.split()[1])
        if status not in {101, 200}:
            raise EmulationError(f"exec in {who}: {first.decode(errors='replace').strip() or status}")
    except BaseException:
        connection.close()
        raise
    return ExecStream(connection, first)


def inspect_exec(api: DockerClient, exec_id: str, who: str) -> dict[str, Any]:
    """What Docker knows of an exec: `Running`, `Pid`, `ExitCode`."""
    with calling(f"exec in {who}"):
        found: dict[str, Any] = api.exec_inspect(exec_id)
    return found


def outcome(api: DockerClient, exec_id: str, who: str) -> tuple[int, int]:
    """Exit status (-1: not known) and pid of an exec that has ended; pid 0 if it never started."""
    found = inspect_exec(api, exec_id, who)
    status = found["ExitCode"]
    return (-1 if status is None else int(status)), int(found.get("Pid") or 0)


def _wait_for_end(api: DockerClient, exec_id: str, end: float | None, who: str) -> bool:
    """The stream closes a moment before Docker knows the exit status."""
    pause = 0.002
    while inspect_exec(api, exec_id, who)["Running"]:
        if end is not None and time.monotonic() > end:
            return False
        time.sleep(pause)
        pause = min(2 * pause, 0.1)
    return True


def _kill(api: DockerClient, container: str, exec_id: str, who: str) -> str:
    """Kill what an exec has started: the session of its process (Docker begins one for each exec)."""
    pid = int(inspect_exec(api, exec_id, who).get("Pid") or 0)
    full_id = str(api.inspect_container(container)["Id"])
    if not pid or not sees_process(pid, full_id):
        return "it has ended meanwhile"
    family = [(each, started) for each in _session(pid) if (started := start_time(each)) is not None]
    if os.geteuid() == 0:
        left = end_processes(family, signal.SIGKILL, KILL_SECONDS)
        return f"processes {left} do not end" if left else "it was killed"
    inner = [str(number) for each, _ in family if (number := _pid_inside(each))]
    with calling(f"end a command in {who}"):
        killer: dict[str, Any] = api.exec_create(container, ["kill", "-9", *inner], user="0")
    with closing(attach(api, str(killer["Id"]), who)) as stream:
        stream.converse(None, time.monotonic() + KILL_SECONDS)
    left = end_processes(family, None, KILL_SECONDS)
    return "it was killed" if not left else f"it still runs (process {pid}), and the image has no `kill`"


def _session(pid: int) -> list[int]:
    """A session leader's processes, itself first, as this machine numbers them."""
    members = [pid]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != pid:
            try:
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == pid:
                members.append(int(entry.name))
    return members


def _pid_inside(pid: int) -> int | None:
    """A process's number in its own pid namespace."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return next((int(line.split()[-1]) for line in lines if line.startswith("NSpid:")), None)


def _timed_out(
    who: str, shown: Sequence[str], timeout: float | None, fate: str, output: Mapping[int, bytearray]
) -> str:
    wrote = bytes(output[1] + output[STDERR_STREAM]).decode(errors="replace").splitlines()[-10:]
    said = "".join(f"\n  {line}" for line in wrote) or " nothing"
    return f"{who}: `{' '.join(shown)}` did not end within {timeout:g} s ({fate}); it wrote:{said}"

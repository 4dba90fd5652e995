"""Processes in an endpoint's namespace, as the caller: started by `enter.py`, ended with the bed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pytest_sonemu.emulation.protocol import Spawn
from pytest_sonemu.emulation.running import RunningEndpoint
from pytest_sonemu.errors import EmulationError, NotFoundError

# Uid, gid and supplementary groups of a client.
Caller = tuple[int, int, tuple[int, ...]]


class SpawnedProcesses:
    """The processes that clients have started; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        # A parent-death signal comes when the *thread* that started a process ends, so one thread that
        # lives as long as the keeper starts them all.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="spawn")

    def spawn(self, request: Spawn, endpoint: RunningEndpoint, caller: Caller, streams: Sequence[int]) -> int:
        """Start a process with the client's three streams; returns its pid."""
        if len(streams) != 3:
            raise EmulationError(f"a process is started with 3 streams, not {len(streams)}")
        if endpoint.namespace is None:
            raise EmulationError(f"'{endpoint.plan.id}' is not running")
        uid, gid, groups = caller
        enter = Path(__file__).with_name("enter.py")
        process = self._starter.submit(
            subprocess.Popen,
            [
                *(sys.executable, "-I", "-S", str(enter), str(os.getpid())),
                *(str(endpoint.namespace), str(endpoint.hosts_file), str(uid), str(gid)),
                *(",".join(map(str, groups)), request.cwd, "--", *request.argv),
            ],
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            env=dict(request.environment),
            pass_fds=[endpoint.namespace],
            start_new_session=True,
        ).result()
        with self._lock:
            self._processes[process.pid] = process
        return process.pid

    def wait(self, pid: int, timeout: float | None) -> int | None:
        """The exit status of a process, negative for a signal, once it has ended; None on time-out."""
        try:
            status = self._find(pid).wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        with self._lock:
            self._processes.pop(pid, None)
        return status

    def signal(self, pid: int, how: signal.Signals) -> None:
        """Send a signal to the process and those it started in its session's group."""
        process = self._find(pid)
        if process.poll() is None:
            os.killpg(pid, how)

    def _find(self, pid: int) -> subprocess.Popen[bytes]:
        with self._lock:
            if pid not in self._processes:
                raise NotFoundError("process of ours", str(pid), map(str, self._processes))
            return self._processes[pid]

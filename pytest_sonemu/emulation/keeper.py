"""The keeper of one test bed: the only privileged process, in whose network namespace the fabric lives.

It serves typed requests on a Unix socket and ends the bed, with all that is in it, when its owner's
connection closes, the owner dies, the clock of a kept bed runs out, or it is told to.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import struct
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sonemu import errors
from pytest_sonemu.emulation import namespaces, places, processes, protocol
from pytest_sonemu.emulation.codec import Channel
from pytest_sonemu.emulation.failures import failure
from pytest_sonemu.emulation.requests import Requests
from pytest_sonemu.planning.batches import namespace_sysctls

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_sonemu.emulation.bed import Bed

FIRST_MESSAGE_SECONDS = 30.0
LAST_WORDS_SECONDS = 3.0


class Keeper:
    """`serve` returns when the bed has ended and nothing of it is left."""

    def __init__(self, bed_name: str, uid: int) -> None:
        self.bed_name, self.uid = bed_name, uid
        self.run_dir = places.run_dir(bed_name, uid)
        self.bed: Bed | None = None
        self.boot: protocol.Boot | None = None
        self._ended, self._end = os.pipe2(os.O_CLOEXEC)
        self._deadline: float | None = time.monotonic() + FIRST_MESSAGE_SECONDS
        self._lease_is_a_connection = True
        self._owner: int | None = None
        self._outside = -1

    def listen(self) -> socket.socket:
        """Make the run directory and the socket in it. Raises SettingsError if the name is taken."""
        for folder in (places.RUN_ROOT, places.RUN_ROOT / str(self.uid)):
            folder.mkdir(mode=0o755, exist_ok=True)
        try:
            self.run_dir.mkdir(mode=0o700)
        except FileExistsError:
            raise errors.SettingsError(
                f"a test bed named '{self.bed_name}' is there already ({self.run_dir});"
                " choose another name, or remove a dead one with `sonemu clean`"
            ) from None
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path = self.run_dir / places.SOCKET_NAME
        listener.bind(str(path))
        path.chmod(0o600)
        gid = _group_of(self.uid)
        for place in (path, self.run_dir):
            os.chown(place, self.uid, gid)
        listener.listen(64)
        return listener

    def serve(self, listener: socket.socket) -> None:
        """Answer until the bed ends; then take everything away."""
        self._outside = namespaces.open_own()
        namespaces.make_sysctls_writable()
        namespaces.unshare_network()
        namespaces.write_sysctls(None, (("net.ipv6.conf.all.disable_ipv6", "1"), *namespace_sysctls(None)))
        threading.Thread(target=self._accept, args=(listener,), name="accept", daemon=True).start()
        try:
            self._wait_for_the_end()
        finally:
            try:
                if self.bed is not None:
                    self.bed.end()
            finally:
                self._remove_run_dir()

    def _remove_run_dir(self) -> None:
        """Threads that were at work when the end came may still write a last file while it is removed."""
        deadline = time.monotonic() + LAST_WORDS_SECONDS
        while self.run_dir.exists() and time.monotonic() < deadline:
            shutil.rmtree(self.run_dir, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.run_dir.parent.rmdir()

    def stop(self) -> None:
        """Let `serve` come to its end; may be called from any thread and from a signal handler."""
        with contextlib.suppress(OSError):
            os.write(self._end, b"x")

    def keep(self, seconds: float) -> None:
        """From now on the lease is a clock."""
        self._lease_is_a_connection = False
        self._deadline = time.monotonic() + seconds
        os.write(self._end, b"c")

    def _wait_for_the_end(self) -> None:
        poll = select.poll()
        poll.register(self._ended, select.POLLIN)
        watched: int | None = None
        while True:
            timeout = None if self._deadline is None else max(0.0, self._deadline - time.monotonic()) * 1000
            ready = dict(poll.poll(timeout))
            if not ready and self._deadline is not None and time.monotonic() >= self._deadline:
                return
            if self._ended in ready and b"x" in os.read(self._ended, 64):
                return
            if watched in ready and self._lease_is_a_connection:
                return
            owner = self._owner if self._lease_is_a_connection else None
            if owner != watched:
                if watched is not None:
                    poll.unregister(watched)
                if owner is not None:
                    poll.register(owner, select.POLLIN)
                watched = owner

    def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, _address = listener.accept()
            threading.Thread(target=self._converse, args=(connection,), name="client", daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        pid, uid = _peer(connection)
        channel = Channel(connection)
        owner = False
        try:
            if uid not in (self.uid, 0):
                return
            while True:
                try:
                    request, descriptors = channel.receive_request()
                except errors.BedGoneError:
                    return
                except errors.EmulationError as error:
                    channel.send(failure(error))
                    continue
                if isinstance(request, protocol.Boot):
                    if self._boot(channel, request, pid):
                        owner = True
                    continue
                if self.bed is None:
                    return
                Requests(self, self.bed, channel, _caller(pid, uid)).answer(request, descriptors)
        except errors.BedGoneError:
            return
        finally:
            channel.close()
            if owner and self._lease_is_a_connection:
                self.stop()

    def _boot(self, channel: Channel, boot: protocol.Boot, owner_pid: int) -> bool:
        from docker.errors import DockerException

        from pytest_sonemu.emulation import docker_api, sweep
        from pytest_sonemu.emulation.bed import Bed
        from pytest_sonemu.emulation.forwarder import Forwarder
        from pytest_sonemu.topology.read import from_json

        if self.boot is not None:
            channel.send(protocol.Failure("EmulationError", f"the bed '{self.bed_name}' is booted already"))
            return False
        self.boot = boot
        try:
            api = docker_api.connect(boot.docker_host)
        except (errors.SonemuError, DockerException) as error:
            channel.send(failure(error))
            self.stop()
            return False
        labels = sweep.labels(self.bed_name, run=str(owner_pid), uid=self.uid)
        forwarder = Forwarder(self._outside)
        self.bed = Bed(self.run_dir, boot, from_json(boot.topology), api, labels, forwarder)
        self.bed.write_state()
        if boot.lease is None:
            with contextlib.suppress(ProcessLookupError):
                self._owner = os.pidfd_open(owner_pid)
            self._deadline = None
        else:
            self._lease_is_a_connection = False
            self._deadline = time.monotonic() + boot.lease
        os.write(self._end, b"c")
        from pytest_sonemu.emulation import storms
        from pytest_sonemu.emulation.events import follow_events

        storms.watch(self.bed)
        follow_events(docker_api.connect(boot.docker_host, timeout=None), self.bed)
        channel.send(self.booted())
        # Behind the answer: what a killed keeper left is nobody's to wait for.
        threading.Thread(target=self._sweep, args=(api,), name="sweep", daemon=True).start()
        return self._lease_is_a_connection

    def _sweep(self, api: APIClient) -> None:
        from pytest_sonemu.emulation import sweep

        try:
            removed = [remnant for remnant in sweep.sweep(api, uid=self.uid) if remnant.removed]
        except errors.SonemuError as error:
            self._note(f"the sweep was not done: {error}")
            return
        for remnant in removed:
            self._note(f"left by a bed that was killed, removed: {remnant.name}")

    def _note(self, text: str) -> None:
        if self.bed is not None:
            self.bed.transcript.note(text)

    def booted(self) -> protocol.Booted:
        """Who we are, for a client that has booted us or attached to us."""
        if self.boot is None:
            raise errors.EmulationError("the bed is not booted yet")
        started = processes.start_time(os.getpid()) or 0
        return protocol.Booted(
            self.bed_name, os.getpid(), started, str(self.run_dir), self.boot.topology, self.boot.seed
        )


def _peer(connection: socket.socket) -> tuple[int, int]:
    """Pid and uid of the process at the other end."""
    size = struct.calcsize("3i")
    pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return pid, uid


def _caller(pid: int, uid: int) -> tuple[int, int, tuple[int, ...]]:
    """Uid, gid and supplementary groups of the process that asks: what a spawned process runs as."""
    gid = _group_of(uid)
    groups: tuple[int, ...] = ()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "Gid":
                gid = int(value.split()[1])
            elif name == "Groups":
                groups = tuple(int(word) for word in value.split())
    return uid, gid, groups


def _group_of(uid: int) -> int:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return uid


def main(bed_name: str, uid: int, tell: int) -> None:
    """The keeper's own process, detached already. `tell` is where the outcome of the start is written."""
    keeper = Keeper(bed_name, uid)
    try:
        listener = keeper.listen()
    except (errors.SonemuError, OSError) as error:
        os.write(tell, str(error).encode())
        os._exit(1)
    log = os.open(keeper.run_dir / "keeper.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.write(tell, b"listening")
    os.close(tell)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: keeper.stop())
    keeper.serve(listener)
    # Daemon threads may still be inside a call that nobody waits for.
    os._exit(0)

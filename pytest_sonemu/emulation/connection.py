"""The connections of one client to a bed's keeper: the lease, and one for each request under way."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sonemu import errors
from pytest_sonemu.emulation import places
from pytest_sonemu.emulation import protocol as messages
from pytest_sonemu.emulation.codec import Channel, prepare, why_none_came
from pytest_sonemu.emulation.failures import raised
from pytest_sonemu.topology.model import Topology

if TYPE_CHECKING:
    from typing_extensions import Self


class Connection:
    """Thread-safe: a request that is under way does not keep another one waiting.

    The owner's holds the bed's lease: when it is closed, or its process dies, the bed ends. In a
    forked child it is one like an attached one: it has connections of its own, and no lease.
    """

    def __init__(self, lease: Channel, booted: messages.Booted, uid: int, *, owner: bool) -> None:
        from pytest_sonemu.topology.read import from_json

        self.name, self.keeper_pid, self.run_dir = booted.bed, booted.pid, Path(booted.run_dir)
        self.topology: Topology = from_json(booted.topology)
        self.owner, self.seed = owner, booted.seed
        self._uid = uid
        self._lease: Channel | None = lease
        self._idle: list[Channel] = []
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        # The instances on which anything may have spoken since each was last put in order.
        self.touched: set[str] = set()
        os.register_at_fork(after_in_child=_forked(weakref.ref(self)))

    @classmethod
    def _meet(cls, bed: str, uid: int, first: messages.Request, *, owner: bool) -> Self:
        # A keeper gives up whose first message does not come within seconds.
        prepare()
        channel = connect(bed, uid)
        try:
            channel.send(first)
            reply, _descriptors = channel.receive_reply()
            if isinstance(reply, messages.Failure):
                raise raised(reply)
            if not isinstance(reply, messages.Booted) or reply.version != messages.VERSION:
                raise errors.EmulationError(
                    f"the keeper of bed '{bed}' speaks another version; end the bed and start it again"
                )
            return cls(channel, reply, uid, owner=owner)
        except BaseException:
            channel.close()
            raise

    # -- requests ---------------------------------------------------------------------------------

    def request(
        self, message: messages.Request, progress: Callable[[str], None] | None = None
    ) -> messages.Reply:
        """Send a request and return its reply. Raises the error of a failure, BedGoneError at the end."""
        reply, descriptors = self._ask(message, (), progress)
        for descriptor in descriptors:
            os.close(descriptor)
        return reply

    def socket(
        self,
        instance: str | None,
        endpoint: str | None,
        family: int,
        type: int,
        protocol: int = 0,
        *,
        mute: messages.Mute = "",
    ) -> socket.socket:
        """A socket that belongs to an endpoint's namespace, or (endpoint None) to the fabric.

        A `mute` one takes nothing and says nothing; see `OpenSocket`.
        """
        if instance is not None:
            self.touched.add(instance)
        reply, descriptors = self._ask(
            messages.OpenSocket(instance, endpoint, family, type, protocol, mute), (), None
        )
        if not isinstance(reply, messages.Done) or len(descriptors) != 1:
            raise errors.EmulationError(why_none_came("socket", len(descriptors)))
        handed = socket.socket(family, type, protocol, fileno=descriptors[0])
        with self._lock:
            # Closed with the bed's view of it: an open one would keep the namespace alive.
            self._sockets = [known for known in self._sockets if known.fileno() >= 0] + [handed]
        return handed

    # -- end --------------------------------------------------------------------------------------

    @property
    def gone(self) -> bool:
        """Whether this client has let go of the bed."""
        return self._lease is None

    def end(self) -> None:
        """End the bed; returns when nothing of it is left but the keeper's own exit. May be called again."""
        if self.gone:
            return
        with contextlib.suppress(errors.BedGoneError):
            self.request(messages.End())
        self.close()

    def close(self) -> None:
        """Let go of the bed: an owner's bed ends with it, any other lives on. May be called again."""
        with self._lock:
            channels = [*self._idle, *([self._lease] if self._lease is not None else [])]
            self._idle, self._lease = [], None
            handed, self._sockets = self._sockets, []
        for handed_out in handed:
            handed_out.close()
        for channel in channels:
            channel.close()

    # -- connections ------------------------------------------------------------------------------

    def _ask(
        self, message: messages.Request, descriptors: Sequence[int], progress: Callable[[str], None] | None
    ) -> tuple[messages.Reply, list[int]]:
        channel = self._take()
        try:
            channel.send(message, descriptors)
            while True:
                reply, received = channel.receive_reply()
                if not isinstance(reply, messages.Progress):
                    break
                if progress is not None:
                    progress(reply.text)
        except BaseException as error:
            channel.close()
            if isinstance(error, errors.BedGoneError):
                raise errors.BedGoneError(f"test bed '{self.name}' is gone: {error}") from error
            raise
        with self._lock:
            keep = self._lease is not None
            if keep:
                self._idle.append(channel)
        if not keep:
            channel.close()
        if isinstance(reply, messages.Failure):
            raise raised(reply)
        return reply, received

    def _take(self) -> Channel:
        with self._lock:
            if self._lease is None:
                raise errors.BedGoneError(f"test bed '{self.name}' is gone")
            if self._idle:
                return self._idle.pop()
        return connect(self.name, self._uid)

    def forget_after_fork(self) -> None:
        """In a forked child: leave the parent's connections to it, whose answers would get mixed up.

        The lease is the parent's alone.
        """
        self._lock = threading.Lock()  # another thread may have held it at the fork
        self.owner = False
        shared = [*self._idle, *([self._lease] if self._lease is not None else [])]
        self._idle = []
        for channel in shared:
            channel.close()


def _forked(client: weakref.ref[Connection]) -> Callable[[], None]:
    def forget() -> None:
        if (alive := client()) is not None:
            alive.forget_after_fork()

    return forget


def connect(bed: str, uid: int) -> Channel:
    """A new connection to a bed's keeper. Raises BedGoneError where none listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(places.keeper_socket(bed, uid)))
    except OSError as error:
        connection.close()
        raise errors.BedGoneError(f"no keeper answers for it: {error.strerror}") from error
    return Channel(connection)


def expect(reply: messages.Reply, kind: type[messages.ReplyKind]) -> messages.ReplyKind:
    """A reply as what it has to be. Raises EmulationError if it is something else."""
    if not isinstance(reply, kind):
        raise errors.EmulationError(f"the keeper answered {type(reply).__name__} instead of {kind.__name__}")
    return reply

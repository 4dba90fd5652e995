"""Python's own sockets speak from an endpoint, for one thread and its tasks.

While such a block is open anywhere, `socket.socket`, `getaddrinfo` and `gethostbyname` look at a context
variable; whoever has it not set, another thread for one, gets what Python gives. The class is not replaced,
so what was imported earlier, and `isinstance`, hold.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from pytest_sonemu.errors import NotFoundError
from pytest_sonemu.planning.plan import Address

# Sockets of other families (a Unix socket to Docker or to the keeper) are nobody's network.
_NETWORK = frozenset({socket.AF_INET, socket.AF_INET6, socket.AF_PACKET, socket.AF_NETLINK})


@dataclass(frozen=True)
class Speaker:
    """Who speaks: makes sockets, resolves names (NotFoundError for one that it does not know)."""

    open: Callable[[int, int, int], socket.socket]
    resolve: Callable[[str], Address]


_speaker: ContextVar[Speaker | None] = ContextVar("sonemu_speaker", default=None)


# A process has one socket.socket, whose change is the process's, however many blocks, beds and threads
# there are. So the count of open blocks lives where the change does, on what was put in place; here is
# only the right to change it.
_CHANGING = threading.Lock()
_MARK = "sonemu_patch"


class _Patch:
    """What stands in place of Python's own while at least one block is open."""

    def __init__(self) -> None:
        self.blocks = 0
        self._before: list[tuple[Any, str, Any]] = []

    def put(self) -> None:
        for place, name, make in _REPLACED:
            before = getattr(place, name)
            made = make(before)
            setattr(made, _MARK, self)
            self._before.append((place, name, before))
            setattr(place, name, made)

    def take_away(self) -> None:
        while self._before:
            setattr(*self._before.pop())


def _enter() -> _Patch:
    with _CHANGING:
        patch: _Patch | None = getattr(socket.socket.__init__, _MARK, None)
        if patch is None:
            patch = _Patch()
            patch.put()
        patch.blocks += 1
        return patch


def _leave(patch: _Patch) -> None:
    with _CHANGING:
        patch.blocks -= 1
        if patch.blocks == 0:
            patch.take_away()


@contextmanager
def speaking(speaker: Speaker) -> Iterator[None]:
    """Let Python's sockets of this thread and its tasks be the speaker's."""
    patch = _enter()
    token = _speaker.set(speaker)
    try:
        yield
    finally:
        _speaker.reset(token)
        _leave(patch)


def _init(before: Callable[..., None]) -> Callable[..., None]:
    def __init__(  # noqa: N807
        self: socket.socket, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> None:
        speaker = _speaker.get()
        kind = socket.AF_INET if family == -1 else family
        if speaker is None or fileno is not None or kind not in _NETWORK:
            before(self, family, type, proto, fileno)
            return
        # Their flags (SOCK_NONBLOCK, SOCK_CLOEXEC) say how a socket is, not which kind it is.
        plain = socket.SOCK_STREAM if type == -1 else type & 0xF
        made = speaker.open(kind, plain, max(proto, 0))
        made.settimeout(socket.getdefaulttimeout())
        if type != -1 and type & socket.SOCK_NONBLOCK:
            made.setblocking(False)
        patience = made.gettimeout()
        before(self, kind, plain, max(proto, 0), made.detach())
        self.settimeout(patience)

    return __init__


def _getaddrinfo(before: Callable[..., Any]) -> Callable[..., Any]:
    def getaddrinfo(
        host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        speaker = _speaker.get()
        if speaker is None or host is None:
            return before(host, port, family, type, proto, flags)
        return before(_resolved(speaker, host), port, family, type, proto, flags)

    return getaddrinfo


def _gethostbyname(before: Callable[..., Any]) -> Callable[..., Any]:
    def gethostbyname(hostname: str) -> Any:
        speaker = _speaker.get()
        return before(hostname) if speaker is None else _resolved(speaker, hostname)

    return gethostbyname


def _loop_getaddrinfo(before: Callable[..., Any]) -> Callable[..., Any]:
    async def getaddrinfo(
        self: Any, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        speaker = _speaker.get()
        if speaker is not None and host is not None:
            # Else another thread would look the name up, to which the variable does not go.
            host = _resolved(speaker, host)
        return await before(self, host, port, family=family, type=type, proto=proto, flags=flags)

    return getaddrinfo


def _resolved(speaker: Speaker, host: str | bytes) -> str:
    name = host.decode() if isinstance(host, bytes) else host
    try:
        return str(ip_address(name.partition("%")[0])) if "%" not in name else name
    except ValueError:
        pass
    try:
        return str(speaker.resolve(name))
    except NotFoundError as error:
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from error


_REPLACED: tuple[tuple[Any, str, Callable[[Callable[..., Any]], Callable[..., Any]]], ...] = (
    (socket.socket, "__init__", _init),
    (socket, "getaddrinfo", _getaddrinfo),
    (socket, "gethostbyname", _gethostbyname),
    (asyncio.BaseEventLoop, "getaddrinfo", _loop_getaddrinfo),
)

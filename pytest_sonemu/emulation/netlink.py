"""The keeper's own netlink: what must be quick, without starting a program.

Changes to links are batches (`planning/batches.py`); here only what has to cost well below a millisecond:
what is read after every test, and the moments in which links go over into the relay's hands and back.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address

from pytest_sonemu.errors import EmulationError

ROUTE, NETFILTER = 0, 12
HEADER = struct.Struct("=IHHII")
ERROR, _DONE = 2, 3
REQUEST, ACK, _DUMP = 0x1, 0x4, 0x300
_GETLINK, SETLINK, _DELNEIGH, _GETNEIGH, _GETSTATS = 18, 19, 29, 30, 94
_STATS, _STATS_LINK_64 = struct.Struct("=BxxxII"), 1
LINK, NEIGHBOUR = struct.Struct("=BxHiII"), struct.Struct("=BxxxiHBB")
_IFF_UP, _OPERATES = 0x1, b"\x06"
_IFLA_IFNAME, IFLA_MASTER, _IFLA_OPERSTATE, _IFLA_EXT_MASK = 3, 10, 16, 29
_SKIP_STATS = struct.pack("=I", 1 << 3)
_GETTFILTER, _FILTER, _INGRESS = 46, struct.Struct("=BxxxiIII"), 0xFFFFFFF2
_TCA_OPTIONS, _U32_ACTION, _ACTION_OPTIONS, _MIRRED_PARMS = 2, 7, 2, 2
_MIRRED, _REDIRECT = struct.Struct("=20xiI"), 1
_NDA_DST, _NDA_LLADDR = 1, 2
_OF_INTERFACE = 0x02
_PERMANENT, _NOARP = 0x80, 0x40
_CONNECTIONS, _RULES = 1 << 8, 10 << 8
_GET_CONNECTIONS, _DELETE_CONNECTION, _GET_GENERATION = _CONNECTIONS | 1, _CONNECTIONS | 2, _RULES | 16
_NETFILTER_HEADER = struct.Struct("=BBH")
_ORIGINAL, _REPLY, _ZONE = 1, 2, 18
_GENERATION_ID = 1
_GONE = (2, 3, 19)  # ENOENT, ESRCH, ENODEV: somebody else was faster

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class End:
    """An interface: whether it is set up, and the bridge (or bond, or VRF) that it is a port of.

    `carries`: the kernel has noticed that its carrier is there.
    """

    name: str
    up: bool
    master: str | None
    index: int = 0
    carries: bool = False


def open_socket(family: int) -> socket.socket:
    """A netlink socket of the namespace that the calling thread is in."""
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family)
    made.settimeout(5.0)
    return made


def read_ends(sock: socket.socket) -> dict[str, End]:
    """All interfaces by name."""
    rows = []
    body = LINK.pack(0, 0, 0, 0, 0) + attribute(_IFLA_EXT_MASK, _SKIP_STATS)
    for message in _ask(sock, _GETLINK, REQUEST | _DUMP, body):
        _, _, index, flags, _ = LINK.unpack_from(message)
        values = dict(attributes(message[LINK.size :]))
        name = values[_IFLA_IFNAME].rstrip(b"\0").decode()
        master = int.from_bytes(values.get(IFLA_MASTER, b""), sys.byteorder)
        carries = values.get(_IFLA_OPERSTATE) == _OPERATES
        rows.append((End(name, bool(flags & _IFF_UP), None, index, carries), master))
    names = {end.index: end.name for end, _master in rows}
    return {end.name: replace(end, master=names.get(master)) for end, master in rows}


def read_learned(sock: socket.socket) -> dict[int, list[bytes]]:
    """The MAC addresses that bridges have learned, by the index of the port behind which they are."""
    found: dict[int, list[bytes]] = {}
    for message in _ask(sock, _GETNEIGH, REQUEST | _DUMP, NEIGHBOUR.pack(socket.AF_BRIDGE, 0, 0, 0, 0)):
        _family, index, state, flags, _kind = NEIGHBOUR.unpack_from(message)
        mac = dict(attributes(message[NEIGHBOUR.size :])).get(_NDA_LLADDR)
        if mac is not None and not state & (_PERMANENT | _NOARP) and not flags & _OF_INTERFACE:
            found.setdefault(index, []).append(mac)
    return found


def set_master(sock: socket.socket, index: int, master: int) -> None:
    """Make an interface a port of a bridge, both by index; 0: of none. One that has gone is fine."""
    body = LINK.pack(0, 0, index, 0, 0) + attribute(IFLA_MASTER, struct.pack("=I", master))
    _ask(sock, SETLINK, REQUEST | ACK, body)


def read_redirect(sock: socket.socket, index: int) -> int | None:
    """The interface that what comes in at another goes on to, by index; None: to none by a filter of ours."""
    for message in _ask(sock, _GETTFILTER, REQUEST | _DUMP, _FILTER.pack(0, index, 0, _INGRESS, 0)):
        options = dict(attributes(message[_FILTER.size :])).get(_TCA_OPTIONS, b"")
        for _order, action in attributes(dict(attributes(options)).get(_U32_ACTION, b"")):
            parts = dict(attributes(dict(attributes(action)).get(_ACTION_OPTIONS, b"")))
            if len(parts.get(_MIRRED_PARMS, b"")) >= _MIRRED.size:
                how, target = _MIRRED.unpack_from(parts[_MIRRED_PARMS])
                if how == _REDIRECT:  # others make copies
                    return int(target)
    return None


def read_received(sock: socket.socket) -> dict[int, int]:
    """How many frames each interface has received, by its index: 0.1 KB of answer for each of them."""
    counts = {}
    for message in _ask(sock, _GETSTATS, REQUEST | _DUMP, _STATS.pack(0, 0, 1 << (_STATS_LINK_64 - 1))):
        _, index, _ = _STATS.unpack_from(message)
        values = dict(attributes(message[_STATS.size :]))
        if _STATS_LINK_64 in values:
            counts[index] = int.from_bytes(values[_STATS_LINK_64][:8], sys.byteorder)
    return counts


def empty_neighbours(sock: socket.socket) -> int:
    """Take away all neighbour entries but the permanent ones; returns how many there were."""
    stale = []
    for message in _ask(sock, _GETNEIGH, REQUEST | _DUMP, NEIGHBOUR.pack(0, 0, 0, 0, 0)):
        family, index, state, flags, kind = NEIGHBOUR.unpack_from(message)
        target = dict(attributes(message[NEIGHBOUR.size :])).get(_NDA_DST)
        if (
            target is not None
            and not state & (_PERMANENT | _NOARP)
            and family in (socket.AF_INET, socket.AF_INET6)
        ):
            head = NEIGHBOUR.pack(family, index, state, flags, kind)
            stale.append(head + attribute(_NDA_DST, target))
    for body in stale:
        _ask(sock, _DELNEIGH, REQUEST | ACK, body)
    return len(stale)


def empty_connections(sock: socket.socket, ends: frozenset[Address]) -> int:
    """Forget tracked connections with one of `ends` in them; returns how many there were."""
    found = []
    for message in _ask(sock, _GET_CONNECTIONS, REQUEST | _DUMP, _NETFILTER_HEADER.pack(0, 0, 0)):
        family = message[0]
        values = dict(attributes(message[_NETFILTER_HEADER.size :]))
        if (_ends_of(values.get(_ORIGINAL, b"")) | _ends_of(values.get(_REPLY, b""))) & ends:
            body = _NETFILTER_HEADER.pack(family, 0, 0) + attribute(_ORIGINAL | 0x8000, values[_ORIGINAL])
            if _ZONE in values:
                body += attribute(_ZONE, values[_ZONE])
            found.append(body)
    for body in found:
        _ask(sock, _DELETE_CONNECTION, REQUEST | ACK, body)
    return len(found)


def rules_generation(sock: socket.socket) -> int:
    """A number that changes with every change of the nftables rule sets; 0 where the kernel has none."""
    try:
        messages = _ask(sock, _GET_GENERATION, REQUEST, _NETFILTER_HEADER.pack(0, 0, 0))
    except EmulationError:
        return 0
    values = dict(attributes(messages[0][_NETFILTER_HEADER.size :])) if messages else {}
    return int.from_bytes(values.get(_GENERATION_ID, b""), "big")


def attributes(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """Type (without its flags) and value of each attribute."""
    at = 0
    while at + 4 <= len(payload):
        length, kind = struct.unpack_from("=HH", payload, at)
        yield kind & 0x3FFF, payload[at + 4 : at + length]
        at += max((length + 3) & ~3, 4)


def _ends_of(connection: bytes) -> frozenset[Address]:
    """The addresses of one direction: attribute 1 holds the addresses, 1 to 4 in it source and target."""
    inner = dict(attributes(connection)).get(1, b"")
    return frozenset(ip_address(value) for kind, value in attributes(inner) if kind in (1, 2, 3, 4))


def attribute(kind: int, value: bytes) -> bytes:
    """One, as the kernel reads it."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _ask(sock: socket.socket, kind: int, flags: int, body: bytes) -> list[bytes]:
    """Send one message and return the payloads of the answer. What is gone already is fine."""
    sock.send(HEADER.pack(HEADER.size + len(body), kind, flags, 0, 0) + body)
    answers: list[bytes] = []
    while True:
        data = sock.recv(1 << 18)
        at = 0
        while at + HEADER.size <= len(data):
            length, answered, _flags, _sequence, _port = HEADER.unpack_from(data, at)
            payload = data[at + HEADER.size : at + length]
            at += (length + 3) & ~3
            if answered == ERROR:
                code = -struct.unpack_from("=i", payload)[0]
                if code and code not in _GONE:
                    raise EmulationError(f"the kernel refused a netlink request: {os.strerror(code)}")
                return answers
            if answered == _DONE:
                return answers
            answers.append(payload)
        if not flags & (_DUMP | ACK):
            return answers

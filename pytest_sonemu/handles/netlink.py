"""Reading interfaces, addresses and routes of a namespace from a NETLINK_ROUTE socket of it.

Nothing is changed here: changes are batches, run by the keeper.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network

from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles.factory import SocketFactory
from pytest_sonemu.handles.results import InterfaceStats
from pytest_sonemu.planning.plan import Address, Interface, Network

NETLINK_ROUTE = 0
_RTM_NEWLINK, _RTM_GETLINK, _RTM_GETADDR, _RTM_GETROUTE, _RTM_GETNEIGH = 16, 18, 22, 26, 30
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST, _NLM_F_DUMP, _NLM_F_DUMP_INTR = 0x1, 0x300, 0x10
# The kernel says RUNNING up to a second after the carrier is there, LOWER_UP at once.
_IFF_UP, _IFF_LOOPBACK, _IFF_LOWER_UP = 0x1, 0x8, 0x10000
_HEADER = struct.Struct("=IHHII")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_NDA_DST, _NDA_LLADDR = 1, 2
# Reachable, stale, to be probed, permanent: it has a MAC address that the kernel would use.
_NUD_KNOWN = 0x02 | 0x04 | 0x08 | 0x10 | 0x80
_LINK, _ADDR, _ROUTE = struct.Struct("=BxHiII"), struct.Struct("=BBBBi"), struct.Struct("=BBBBBBBBI")
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_STATS64, _IFLA_PROP_LIST, _IFLA_ALT_IFNAME = 1, 3, 4, 23, 52, 53
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_TABLE = 1, 4, 5, 6, 15
_ATTEMPTS = 10
_RTA_SRC, _RTA_IIF, _RTA_IP_PROTO, _RTA_SPORT, _RTA_DPORT = 2, 3, 27, 28, 29
_RTM_GETNETCONF, _NETCONFA_IFINDEX, _NETCONFA_FORWARDING = 82, 1, 2
_NETCONF = struct.Struct("=Bxxx")


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """One interface. `up` means set up, `running` that it has a carrier as well."""

    index: int
    name: str
    mac: str
    mtu: int
    up: bool
    running: bool
    loopback: bool
    stats: InterfaceStats
    altnames: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AddressInfo:
    index: int
    address: Interface


@dataclass(frozen=True, slots=True)
class RouteInfo:
    """A unicast route. `protocol` is the kernel's number of who made it (2 kernel, 3 boot, 4 static)."""

    destination: Network
    gateway: Address | None
    index: int | None
    metric: int
    table: int
    protocol: int


def route_socket(factory: SocketFactory, instance: str | None, endpoint: str | None) -> socket.socket:
    """A NETLINK_ROUTE socket of that namespace; the caller closes it."""
    return factory.socket(instance, endpoint, socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE)


def read_links(sock: socket.socket) -> tuple[LinkInfo, ...]:
    """All interfaces with their counters, in the order of their index."""
    return tuple(map(_link, dump(sock, _RTM_GETLINK, _LINK.pack(0, 0, 0, 0, 0))))


def links_of(datagram: bytes) -> list[LinkInfo]:
    """The interfaces that a notice of the kernel says are new or changed."""
    return [_link(payload) for kind, _, payload in _messages(datagram) if kind == _RTM_NEWLINK]


def read_addresses(sock: socket.socket) -> tuple[AddressInfo, ...]:
    """All addresses, IPv4 first."""
    return tuple(map(_address, dump(sock, _RTM_GETADDR, _ADDR.pack(0, 0, 0, 0, 0))))


def read_routes(sock: socket.socket) -> tuple[RouteInfo, ...]:
    """The unicast routes of all tables (254 is the main one)."""
    messages = dump(sock, _RTM_GETROUTE, _ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0))
    return tuple(route for route in map(_route, messages) if route is not None)


def input_route_error(
    sock: socket.socket, index: int, source: Address, target: Address, protocol: int, ports: tuple[int, int]
) -> int:
    """Where an IPv4 packet would go that came in at an interface: 0, or the errno of there being no way.

    `ports` are the source's and the target's. The kernel says EHOSTUNREACH also where it does not forward.
    """
    values = (
        (_RTA_DST, target.packed),
        (_RTA_SRC, source.packed),
        (_RTA_IIF, struct.pack("=I", index)),
        (_RTA_IP_PROTO, bytes((protocol,))),
        (_RTA_SPORT, struct.pack("!H", ports[0])),
        (_RTA_DPORT, struct.pack("!H", ports[1])),
    )
    body = _ROUTE.pack(socket.AF_INET, 32, 32, 0, 0, 0, 0, 0, 0)
    body += b"".join(_attribute(kind, value) for kind, value in values)
    sock.send(_HEADER.pack(_HEADER.size + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, 0, 0) + body)
    for kind, _, payload in _messages(sock.recv(1 << 16)):
        if kind == _NLMSG_ERROR:
            return -int(struct.unpack_from("=i", payload)[0])
    return 0


def forwards_ipv4(sock: socket.socket, index: int) -> bool:
    """Whether packets that come in at an interface are forwarded."""
    for message in dump(sock, _RTM_GETNETCONF, _NETCONF.pack(socket.AF_INET)):
        values = dict(attributes(message[_NETCONF.size :]))
        if int.from_bytes(values.get(_NETCONFA_IFINDEX, b""), sys.byteorder) == index:
            return any(values.get(_NETCONFA_FORWARDING, b""))
    return False


def read_neighbours(sock: socket.socket) -> dict[tuple[int, Address], str]:
    """The MAC addresses that the kernel knows now, by the index of the interface and the address."""
    found: dict[tuple[int, Address], str] = {}
    for message in dump(sock, _RTM_GETNEIGH, _NEIGHBOUR.pack(0, 0, 0, 0, 0)):
        family, index, state, _, _ = _NEIGHBOUR.unpack_from(message)
        values = dict(attributes(message[_NEIGHBOUR.size :]))
        known = state & _NUD_KNOWN and _NDA_DST in values and _NDA_LLADDR in values
        if known and family in (socket.AF_INET, socket.AF_INET6):
            found[index, ip_address(values[_NDA_DST])] = values[_NDA_LLADDR].hex(":")
    return found


def dump(sock: socket.socket, request: int, body: bytes) -> list[bytes]:
    """The answers to a dump, asked again when the kernel says that something changed meanwhile."""
    for _ in range(_ATTEMPTS):
        answers, changed = _dump_once(sock, request, body)
        if not changed:
            return answers
    raise ProbeError("interfaces of this namespace change faster than they can be read")


def _dump_once(sock: socket.socket, request: int, body: bytes) -> tuple[list[bytes], bool]:
    sock.send(_HEADER.pack(_HEADER.size + len(body), request, _NLM_F_REQUEST | _NLM_F_DUMP, 0, 0) + body)
    answers: list[bytes] = []
    changed = False
    while True:
        datagram = sock.recv(1 << 18)
        for kind, flags, payload in _messages(datagram):
            changed = changed or bool(flags & _NLM_F_DUMP_INTR)
            if kind == _NLMSG_DONE:
                return answers, changed
            if kind == _NLMSG_ERROR:
                code = -struct.unpack_from("=i", payload)[0]
                raise ProbeError(f"the kernel refused to list this namespace: {os.strerror(code)}")
            answers.append(payload)


def _messages(datagram: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(datagram):
        length, kind, flags, _, _ = _HEADER.unpack_from(datagram, at)
        yield kind, flags, datagram[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def attributes(payload: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(payload):
        length, kind = struct.unpack_from("=HH", payload, at)
        yield kind & 0x3FFF, payload[at + 4 : at + length]
        at += max((length + 3) & ~3, 4)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _link(message: bytes) -> LinkInfo:
    _, _, index, flags, _ = _LINK.unpack_from(message)
    name, mac, mtu, stats, altnames = "", "", 0, InterfaceStats(), []
    for kind, value in attributes(message[_LINK.size :]):
        if kind == _IFLA_IFNAME:
            name = _text(value)
        elif kind == _IFLA_ADDRESS:
            mac = value.hex(":")
        elif kind == _IFLA_MTU:
            mtu = int.from_bytes(value, sys.byteorder)
        elif kind == _IFLA_STATS64:
            rx, tx, rx_bytes, tx_bytes, _, _, rx_dropped, tx_dropped = struct.unpack_from("=8Q", value)
            stats = InterfaceStats(rx, rx_bytes, rx_dropped, tx, tx_bytes, tx_dropped)
        elif kind == _IFLA_PROP_LIST:
            altnames = [_text(item) for sub, item in attributes(value) if sub == _IFLA_ALT_IFNAME]
    up, carrier, loopback = (bool(flags & bit) for bit in (_IFF_UP, _IFF_LOWER_UP, _IFF_LOOPBACK))
    running = up and carrier
    return LinkInfo(index, name, mac, mtu, up, running, loopback, stats, tuple(altnames))


def _address(message: bytes) -> AddressInfo:
    _, prefix, _, _, index = _ADDR.unpack_from(message)
    values = dict(attributes(message[_ADDR.size :]))
    # On a point-to-point interface IFA_ADDRESS is the other side's.
    raw = values.get(_IFA_LOCAL, values.get(_IFA_ADDRESS, b""))
    return AddressInfo(index, ip_interface(f"{ip_address(raw)}/{prefix}"))


def _route(message: bytes) -> RouteInfo | None:
    family, prefix, _, _, table, protocol, _, kind, _ = _ROUTE.unpack_from(message)
    if kind != 1 or family not in (socket.AF_INET, socket.AF_INET6):
        return None
    values = dict(attributes(message[_ROUTE.size :]))
    raw = values.get(_RTA_DST, bytes(4 if family == socket.AF_INET else 16))
    gateway = values.get(_RTA_GATEWAY)
    index = values.get(_RTA_OIF)
    return RouteInfo(
        destination=ip_network(f"{ip_address(raw)}/{prefix}"),
        gateway=ip_address(gateway) if gateway else None,
        index=int.from_bytes(index, sys.byteorder) if index else None,
        metric=int.from_bytes(values.get(_RTA_PRIORITY, b""), sys.byteorder),
        table=int.from_bytes(values[_RTA_TABLE], sys.byteorder) if _RTA_TABLE in values else table,
        protocol=protocol,
    )


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")

"""A namespace's network as a set of sentences, so that two states can be compared.

Left out is what changes by itself: counters, routes and addresses that the kernel, router advertisements
or routing daemons make, neighbour entries that are not permanent.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_address

from pytest_sonemu.handles.factory import SocketFactory
from pytest_sonemu.handles.netlink import (
    attributes,
    dump,
    read_addresses,
    read_links,
    route_socket,
)

_GETROUTE, _GETNEIGH, _GETRULE, _GETQDISC, _GETNETCONF = 26, 30, 34, 38, 82
_ROUTE = struct.Struct("=BBBBBBBBI")
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_CACHE, _RTA_TABLE = 1, 4, 5, 6, 12, 15
_RTA_SHOWN = frozenset({_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_CACHE, _RTA_TABLE})
_ROUTE_KINDS = {1: "route", 6: "blackhole route", 7: "unreachable route", 8: "prohibited route"}
_NEIGHBOUR, _RULE = struct.Struct("=BxxxiHBB"), struct.Struct("=BBBBBBBBI")
_QDISC, _NETCONF = struct.Struct("=BxxxiIII"), struct.Struct("=Bxxx")
_PERMANENT = 0x80
# Unspecified, boot (what `ip route add` says) and static: made by hand.
_BY_HAND = frozenset({0, 3, 4})
_FORWARDING, _RP_FILTER, _MC_FORWARDING, _PROXY_NEIGH = 2, 3, 4, 5
_NETCONF_NAMES = {_FORWARDING: "forwarding", _RP_FILTER: "rp_filter", _PROXY_NEIGH: "proxy_arp"}
_ALL, _DEFAULT = -1, -2

State = Counter[str]


def network_state(factory: SocketFactory, instance: str, endpoint: str) -> State:
    """Interfaces, addresses, routes, rules, permanent neighbours, qdiscs and forwarding switches."""
    with closing(route_socket(factory, instance, endpoint)) as sock:
        links = read_links(sock)
        names = {link.index: link.name for link in links}
        state = State()
        for link in links:
            state[f"interface {link.name} {'up' if link.up else 'down'}, mtu {link.mtu}, {link.mac}"] += 1
        for entry in read_addresses(sock):
            if not entry.address.ip.is_link_local:
                state[f"address {entry.address} on {names.get(entry.index, '?')}"] += 1
        messages = {
            kind: dump(sock, kind, body)
            for kind, body in (
                (_GETROUTE, _ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)),
                (_GETRULE, _RULE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)),
                (_GETNEIGH, _NEIGHBOUR.pack(0, 0, 0, 0, 0)),
                (_GETQDISC, _QDISC.pack(0, 0, 0, 0, 0)),
                (_GETNETCONF, _NETCONF.pack(0)),
            )
        }
    state.update(_routes(messages[_GETROUTE], names))
    state.update(f"rule {text}" for text in map(_rule, messages[_GETRULE]))
    state.update(_neighbours(messages[_GETNEIGH], names))
    state.update(_qdiscs(messages[_GETQDISC], names))
    state.update(_switches(messages[_GETNETCONF], names))
    return state


def _routes(messages: list[bytes], names: dict[int, str]) -> Iterator[str]:
    for message in messages:
        family, length, _, _, _, protocol, _, kind, _ = _ROUTE.unpack_from(message)
        if protocol not in _BY_HAND or family not in (socket.AF_INET, socket.AF_INET6):
            continue
        values = dict(attributes(message[_ROUTE.size :]))
        target = values.get(_RTA_DST, bytes(4 if family == socket.AF_INET else 16))
        words = [_ROUTE_KINDS.get(kind, f"kind {kind}"), f"{ip_address(target)}/{length}"]
        if _RTA_GATEWAY in values:
            words.append(f"via {ip_address(values[_RTA_GATEWAY])}")
        if _RTA_OIF in values:
            words.append(f"out of {names.get(_number(values[_RTA_OIF]), '?')}")
        words.append(f"metric {_number(values.get(_RTA_PRIORITY, b''))} table {_number(values[_RTA_TABLE])}")
        # Next hops, preferred sources, MTUs: as the kernel writes them.
        words += [f"({key}: {value.hex()})" for key, value in values.items() if key not in _RTA_SHOWN]
        yield " ".join(filter(None, words))


def _number(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)


def _rule(message: bytes) -> str:
    family, to_length, from_length, *_rest, action, _flags = _RULE.unpack_from(message)
    values = dict(attributes(message[_RULE.size :]))

    def number(kind: int) -> int:
        return _number(values.get(kind, b""))

    def prefix(kind: int, length: int) -> str:
        return f"{ip_address(values[kind])}/{length}" if kind in values else "all"

    words = [f"{number(6)}: from {prefix(2, from_length)} to {prefix(1, to_length)}"]
    words += [
        f"{name} {values[kind].rstrip(bytes(1)).decode()}"
        for kind, name in ((3, "iif"), (17, "oif"))
        if kind in values
    ]
    words += [f"mark {number(10)}" if 10 in values else "", f"table {number(15)} action {action}"]
    return f"(IPv{6 if family == 10 else 4}) " + " ".join(filter(None, words))


def _neighbours(messages: list[bytes], names: dict[int, str]) -> Iterator[str]:
    for message in messages:
        _family, index, state, _flags, _kind = _NEIGHBOUR.unpack_from(message)
        values = dict(attributes(message[_NEIGHBOUR.size :]))
        if state & _PERMANENT and 1 in values and len(values[1]) in (4, 16):
            mac = values.get(2, b"").hex(":")
            yield f"neighbour {ip_address(values[1])} at {mac} on {names.get(index, '?')}"


def _qdiscs(messages: list[bytes], names: dict[int, str]) -> Iterator[str]:
    for message in messages:
        _family, index, handle, parent, _info = _QDISC.unpack_from(message)
        values = dict(attributes(message[_QDISC.size :]))
        kind = values.get(1, b"").rstrip(b"\0").decode(errors="replace")
        # An interface's first qdisc comes by itself with the interface.
        if kind not in ("noqueue", "mq", "pfifo_fast"):
            shape = values.get(2, b"").hex()
            yield f"qdisc {kind} {handle >> 16:x}: on {names.get(index, '?')} parent {parent:x} ({shape})"


def _switches(messages: list[bytes], names: dict[int, str]) -> Iterator[str]:
    for message in messages:
        family = "IPv6" if message[0] == 10 else "IPv4"
        values = {
            kind: struct.unpack("=i", value[:4])[0] for kind, value in attributes(message[_NETCONF.size :])
        }
        index = values.get(1, 0)
        where = {_ALL: "all", _DEFAULT: "default"}.get(index, names.get(index, "?"))
        for kind, name in _NETCONF_NAMES.items():
            if kind in values:
                yield f"{family} {name} of {where} = {values[kind]}"

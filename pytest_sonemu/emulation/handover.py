"""A port's place in a bridge handed over to another port that is there too, all by one netlink message.

By `ip` frames would be lost, or come twice, for as long as it takes from one line to the next.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass

from pytest_sonemu.emulation import netlink
from pytest_sonemu.emulation.netlink import (
    ACK,
    ERROR,
    HEADER,
    IFLA_MASTER,
    LINK,
    NEIGHBOUR,
    REQUEST,
    SETLINK,
    attribute,
)
from pytest_sonemu.errors import EmulationError
from pytest_sonemu.planning.batches import PORT_GROUPS, REDIRECT_PREFERENCE
from pytest_sonemu.relay.redirects import NEW_FILTER, Message, pass_on

_NEW_NEIGHBOUR, _REPLACE, _CREATE = 28, 0x100, 0x400
_OF_MASTER, _REACHABLE = 0x04, 0x02
_PORT_VALUES, _NESTED = 12, 0x8000
_STATE, _FLUSH, _GROUPS, _ISOLATED = 1, 24, 31, 33
_DISABLED, _FORWARDING = 0, 3
_MAC = 2
# Neither learning nor flooding, of unicast, multicast or broadcast.
_ONLY_IN = b"".join(attribute(flag, b"\0") for flag in (8, 9, 27, 30))
# Whoever has gone, or is down, has nothing that could be handed over.
_PASSED_OVER = {errno.ENOENT, errno.ENODEV, errno.ESRCH, errno.ENETDOWN}
# What the kernel may refuse: a port without filters takes none and needs none, and what goes to an address
# that it does not learn now goes to all ports.
_OPTIONAL = {NEW_FILTER, _NEW_NEIGHBOUR}
# More than that of one port are learned anew, or the message would be too long for the kernel.
_MOST_ADDRESSES = 1_000


@dataclass(frozen=True, slots=True)
class Handover:
    """The place of `old` in their bridge goes to `new`, with the addresses learned there.

    With `bridge`, `new` comes into that one now, perhaps `isolated`; then nothing leaves by `old` any more,
    but what is on its way to it still comes in. What comes in at `new` is the bridge's from then on, also
    where a filter of the relay's sent it elsewhere (until `switchover.forget`).
    """

    old: str
    new: str
    bridge: str | None = None
    isolated: bool = False


def hand_over(handovers: Iterable[Handover]) -> None:
    """Make each change while frames pass: from the opening of the one to the closing of the other both are
    in use, for less than 0.1 ms where nobody else keeps the kernel busy with links.

    Ports that are not there are passed over. Raises EmulationError.
    """
    asked = list(handovers)
    if not asked:
        return
    with closing(netlink.open_socket(netlink.ROUTE)) as sock:
        ends = netlink.read_ends(sock)
        learned = netlink.read_learned(sock)
        indices = {name: end.index for name, end in ends.items()}
        for each in asked:
            new, old = indices.get(each.new), indices.get(each.old)
            messages: list[Message] = []
            if new is not None:
                if each.bridge in indices:
                    messages += _enter(new, indices[each.bridge], isolated=each.isolated)
                    # Else the relay's filter would bring them in by `old`, and the bridge them out by `new`.
                    messages.insert(1, pass_on(new, REDIRECT_PREFERENCE))
                else:
                    messages.append(_port(new, attribute(_STATE, bytes([_FORWARDING]))))
            if old is not None:
                shut = _ONLY_IN if each.bridge is not None else attribute(_STATE, bytes([_DISABLED]))
                messages.append(_port(old, shut + attribute(_FLUSH, b"")))
            if new is not None and old is not None:
                # Until then what goes there goes to all ports, as to any that has not spoken yet.
                messages += [_learn(new, mac) for mac in learned.get(old, [])[:_MOST_ADDRESSES]]
            if messages:
                _send(sock, messages)


def _port(index: int, values: bytes) -> Message:
    body = LINK.pack(socket.AF_BRIDGE, 0, index, 0, 0) + attribute(_PORT_VALUES | _NESTED, values)
    return SETLINK, 0, body


def _enter(index: int, bridge: int, *, isolated: bool) -> list[Message]:
    """As `batches.bridge_port`: the kernel opens a port as it comes in, so it is not to wait for its rest."""
    master = LINK.pack(0, 0, index, 0, 0) + attribute(IFLA_MASTER, struct.pack("=I", bridge))
    values = attribute(_GROUPS, struct.pack("=H", PORT_GROUPS))
    return [(SETLINK, 0, master), _port(index, values + attribute(_ISOLATED, bytes([isolated])))]


def _learn(index: int, mac: bytes) -> Message:
    body = NEIGHBOUR.pack(socket.AF_BRIDGE, index, _REACHABLE, _OF_MASTER, 0) + attribute(_MAC, mac)
    return _NEW_NEIGHBOUR, _CREATE | _REPLACE, body


def _send(sock: socket.socket, messages: list[Message]) -> None:
    """All at once; the kernel goes on after one that it refuses. Only the last is acknowledged."""
    data = b""
    for number, (kind, flags, body) in enumerate(messages, 1):
        flags |= REQUEST | (ACK if number == len(messages) else 0)
        size = HEADER.size + len(body)
        data += HEADER.pack(size, kind, flags, number, 0) + body + bytes(-size % 4)
    sock.send(data)
    refused = 0
    while True:
        answer, at = sock.recv(1 << 18), 0
        while at + HEADER.size <= len(answer):
            length, kind, _flags, number, _port_id = HEADER.unpack_from(answer, at)
            if kind == ERROR:
                code = -struct.unpack_from("=i", answer, at + HEADER.size)[0]
                if code and code not in _PASSED_OVER and messages[number - 1][0] not in _OPTIONAL:
                    refused = refused or code
                if number == len(messages):
                    if refused:
                        raise EmulationError(f"the kernel hands no bridge port over: {os.strerror(refused)}")
                    return
            at += (length + 3) & ~3

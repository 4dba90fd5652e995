"""Raw Ethernet frames at the endpoints of a bed: sent as they are, received with their VLAN tag."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterable

from pytest_sonemu.handles.endpoint import Endpoint

ETH_P_ALL = 0x0003
SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 1 << 4, 1 << 6
PRIVATE_ETHERTYPE = 0x88B5
BROADCAST = "ff:ff:ff:ff:ff:ff"


def mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def frame(target: str, source: str, payload: bytes, ethertype: int = PRIVATE_ETHERTYPE) -> bytes:
    """An Ethernet frame, without padding: as long as its payload makes it."""
    return mac_bytes(target) + mac_bytes(source) + ethertype.to_bytes(2, "big") + payload


def ip_packet(payload: bytes) -> bytes:
    """An IPv4 packet of a protocol that nobody listens to (253, for experiments)."""
    length = 20 + len(payload)
    header = bytes([0x45, 0]) + length.to_bytes(2, "big") + bytes([0, 0, 0, 0, 64, 253, 0, 0])
    return header + bytes([10, 0, 0, 1, 10, 0, 0, 2]) + payload


def numbered(number: int) -> bytes:
    return ip_packet(b"number %04d" % number)


def numbers_in(heard: Iterable[bytes]) -> set[int]:
    """Of frames with `numbered` packets."""
    return {int(data[data.index(b"number ") + 7 :][:4]) for data in heard}


class Ear:
    """Hears every frame that comes in at one interface, or at any of them, of an endpoint."""

    def __init__(self, endpoint: Endpoint, interface: str | None = None) -> None:
        self.endpoint = endpoint
        self.socket = endpoint.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.setblocking(False)
        self.interface = interface

    def heard(self) -> list[tuple[str, bytes]]:
        """Everything queued by now: interface and whole frame, its tag put back."""
        found: list[tuple[str, bytes]] = []
        while True:
            try:
                data, ancillary, _flags, address = self.socket.recvmsg(70000, 256)
            except BlockingIOError:
                return found
            if self.interface in (None, address[0]) and address[0] != "lo":
                found.append((address[0], _with_tag(data, ancillary)))

    def close(self) -> None:
        self.socket.close()


def _with_tag(data: bytes, ancillary: Iterable[tuple[int, int, bytes]]) -> bytes:
    for level, kind, payload in ancillary:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _length, _snaplen, _mac, _net, tci, tpid = struct.unpack("IIIHHHH", payload[:20])
            if status & TP_STATUS_VLAN_VALID:
                tag = tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100
                return data[:12] + struct.pack("!HH", tag, tci) + data[12:]
    return data


class Mouth:
    """Sends frames out of one interface of an endpoint."""

    def __init__(self, endpoint: Endpoint, interface: str) -> None:
        self.socket = endpoint.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.bind((interface, 0))

    def send(self, data: bytes) -> None:
        self.socket.send(data)

    def close(self) -> None:
        self.socket.close()


def wait_for(ears: Iterable[Ear], wanted: bytes, timeout: float = 2.0) -> dict[str, list[bytes]]:
    """Listen at all ears until one has heard a frame with `wanted` in it, then for as long as anything comes.

    Frames by "endpoint:interface".
    """
    by_socket = {ear.socket.fileno(): ear for ear in ears}
    heard: dict[str, list[bytes]] = {}
    deadline = time.monotonic() + timeout
    met = False
    while (left := deadline - time.monotonic()) > 0:
        # Once it is there, a copy of it elsewhere is only microseconds behind.
        ready, _, _ = select.select(list(by_socket), [], [], 0.05 if met else left)
        if met and not ready:
            return heard
        for number in ready:
            ear = by_socket[number]
            for interface, data in ear.heard():
                if wanted in data:
                    met = True
                    heard.setdefault(f"{ear.endpoint.id}:{interface}", []).append(data)
    return heard

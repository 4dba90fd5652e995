"""Recordings of conversations, made by hand: as a sniffer would have taken them elsewhere, long ago."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

SYN, ACK, PSH, FIN, RST = 0x02, 0x10, 0x08, 0x01, 0x04


@dataclass
class Tape:
    """Packets between a client and a server, a step apart. All checksums are left open, as hardware
    offload leaves them."""

    client: str = "192.0.2.1"
    server: str = "192.0.2.80"
    step: float = 0.001
    frames: list[tuple[int, bytes]] = field(default_factory=list)
    now: int = 1_000_000_000_000_000_000

    def ip(
        self, body: bytes, protocol: int, *, back: bool = False, ident: int | None = None, fragment: int = 0
    ) -> Tape:
        source, target = (self.server, self.client) if back else (self.client, self.server)
        one, other = ip_address(source), ip_address(target)
        if one.version == 4:
            number = len(self.frames) + 1 if ident is None else ident
            head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), number, fragment, 64, protocol, 0)
            return self.raw(head + one.packed + other.packed + body)
        head = struct.pack("!IHBB", 6 << 28, len(body), protocol, 64)
        return self.raw(head + one.packed + other.packed + body)

    def raw(self, packet: bytes, kind: int | None = None, tags: Sequence[int] = ()) -> Tape:
        found = kind if kind is not None else 0x0800 if packet[0] >> 4 == 4 else 0x86DD
        tagged = b"".join(struct.pack("!HH", 0x8100, tag) for tag in tags)
        self.frames.append(
            (self.now, bytes.fromhex("0badc0ffee010badc0ffee02") + tagged + struct.pack("!H", found) + packet)
        )
        self.now += int(self.step * 1e9)
        return self

    def tcp(
        self, flags: int, payload: bytes = b"", *, seq: int = 0, ack: int = 0, back: bool = False,
        ports: tuple[int, int] = (40000, 80), options: bytes = b"",
    ) -> Tape:  # fmt: skip
        ours, theirs = ports[::-1] if back else ports
        offset = (5 + len(options) // 4) << 4
        head = struct.pack("!HHIIBBHHH", ours, theirs, seq, ack, offset, flags, 64000, 0, 0)
        return self.ip(head + options + payload, 6, back=back)

    def udp(self, payload: bytes, *, back: bool = False, ports: tuple[int, int] = (40000, 53)) -> Tape:
        ours, theirs = ports[::-1] if back else ports
        return self.ip(struct.pack("!HHHH", ours, theirs, 8 + len(payload), 1) + payload, 17, back=back)

    def echo(self, number: int, payload: bytes = b"abcd", *, back: bool = False) -> Tape:
        six = ":" in self.client
        kind = (129 if back else 128) if six else (0 if back else 8)
        return self.ip(struct.pack("!BBHHH", kind, 0, 0, 77, number) + payload, 58 if six else 1, back=back)

    def web(self, request: bytes, answer: bytes, ports: tuple[int, int] = (40000, 80)) -> Tape:
        """A whole conversation of TCP: eight packets."""
        us, them = 1000, 5000
        asked, told = us + 1 + len(request), them + 1 + len(answer)
        self.tcp(SYN, seq=us, ports=ports, options=b"\x02\x04\x05\xb4")
        self.tcp(SYN | ACK, seq=them, ack=us + 1, back=True, ports=ports, options=b"\x02\x04\x05\xb4")
        self.tcp(ACK, seq=us + 1, ack=them + 1, ports=ports)
        self.tcp(PSH | ACK, request, seq=us + 1, ack=them + 1, ports=ports)
        self.tcp(PSH | ACK, answer, seq=them + 1, ack=asked, back=True, ports=ports)
        self.tcp(FIN | ACK, seq=asked, ack=told, ports=ports)
        self.tcp(FIN | ACK, seq=told, ack=asked + 1, back=True, ports=ports)
        return self.tcp(ACK, seq=asked + 1, ack=told + 1, ports=ports)

    def save(self, path: Path, order: str = "<", *, nanoseconds: bool = False, snap: int = 65535) -> Path:
        """As classic pcap."""
        magic, unit = (0xA1B23C4D, 1) if nanoseconds else (0xA1B2C3D4, 1000)
        content = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snap, 1)
        for moment, frame in self.frames:
            whole, rest = divmod(moment, 10**9)
            kept = frame[:snap]
            content += struct.pack(f"{order}IIII", whole, rest // unit, len(kept), len(frame)) + kept
        path.write_bytes(content)
        return path

    def save_ng(self, path: Path, order: str = "<") -> Path:
        """As pcapng with microseconds."""

        def block(kind: int, body: bytes) -> bytes:
            padded = body + bytes(-len(body) % 4)
            size = struct.pack(f"{order}I", len(padded) + 12)
            return struct.pack(f"{order}I", kind) + size + padded + size

        content = block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))
        content += block(1, struct.pack(f"{order}HHI", 1, 0, 0))
        for moment, frame in self.frames:
            high, low = divmod(moment // 1000, 1 << 32)
            content += block(6, struct.pack(f"{order}IIIII", 0, high, low, len(frame), len(frame)) + frame)
        path.write_bytes(content)
        return path

"""Classic BPF programs for the observer: which frames of the fabric the kernel hands over (pure).

Written as text-free tuples and attached with SO_ATTACH_FILTER; one program serves all open watches.
"""

from __future__ import annotations

from dataclasses import dataclass

from pytest_sonemu.relay.socket_filter import Instruction

_LDH, _LDB, _LDH_X, _LDB_X = 0x28, 0x30, 0x48, 0x50
_LDX_IP_HEADER, _LDX = 0xB1, 0x01
_JEQ, _JSET, _JA, _RET = 0x15, 0x45, 0x05, 0x06
_IPV4, _IPV6, _ARP, _TAGS = 0x0800, 0x86DD, 0x0806, (0x8100, 0x88A8)
_TCP, _UDP, _ICMP, _ICMPV6 = 6, 17, 1, 58
_SYN_OR_RST = 0x06
_ICMP_ERRORS, _ICMPV6_ERRORS, _NEIGHBOURS = (3, 11, 12), (1, 2, 3, 4), (135, 136)
# Enough for a tagged frame, an ICMPv6 error and the headers and token of the packet it speaks of.
SNAP_LENGTH = 256
# Beyond this many ports a program would be longer than its test by hand is worth.
MOST_PORTS = 64


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a watch wants to see: openings of TCP connections, datagrams of some UDP ports.

    ICMP errors and questions for neighbours come with both.
    """

    tcp: bool = False
    udp_ports: frozenset[int] = frozenset()

    def __or__(self, other: Wanted) -> Wanted:
        return Wanted(self.tcp or other.tcp, self.udp_ports | other.udp_ports)

    def __bool__(self) -> bool:
        return self.tcp or bool(self.udp_ports)


def program(wanted: Wanted) -> list[Instruction]:
    """The filter for all that is wanted; nothing at all for an empty `Wanted`."""
    if not wanted:
        return [_ret(0)]
    # The tag of a frame is taken off before it is seen here; a second one is still in it.
    inner = _network(18, wanted)
    tagged = [instruction for tag in _TAGS for instruction in _when(_JEQ, tag, inner)]
    return [(_LDH, 0, 0, 12), *tagged, *_network(14, wanted), _ret(0)]


def _network(offset: int, wanted: Wanted) -> list[Instruction]:
    return [
        (_LDH, 0, 0, offset - 2),
        *_when(_JEQ, _ARP, [_ret(SNAP_LENGTH)]),
        *_when(_JEQ, _IPV4, [*_ipv4(offset, wanted), _ret(0)]),
        *_when(_JEQ, _IPV6, [*_ipv6(offset, wanted), _ret(0)]),
        _ret(0),
    ]


def _ipv4(offset: int, wanted: Wanted) -> list[Instruction]:
    types = [(_LDB_X, 0, 0, offset), *_any_of(_ICMP_ERRORS)]
    return [
        (_LDH, 0, 0, offset + 6),
        *_when(_JSET, 0x1FFF, [_ret(0)]),  # a later fragment has no ports
        (_LDX_IP_HEADER, 0, 0, offset),
        (_LDB, 0, 0, offset + 9),
        *_transport(_ICMP, types, offset, wanted),
    ]


def _ipv6(offset: int, wanted: Wanted) -> list[Instruction]:
    types = [(_LDB_X, 0, 0, offset), *_any_of(_ICMPV6_ERRORS + _NEIGHBOURS)]
    return [(_LDX, 0, 0, 40), (_LDB, 0, 0, offset + 6), *_transport(_ICMPV6, types, offset, wanted)]


def _transport(icmp: int, types: list[Instruction], offset: int, wanted: Wanted) -> list[Instruction]:
    code = _when(_JEQ, icmp, [*types, _ret(0)])
    if wanted.tcp:
        opening = _when(_JSET, _SYN_OR_RST, [_ret(SNAP_LENGTH)])
        code += _when(_JEQ, _TCP, [(_LDB_X, 0, 0, offset + 13), *opening, _ret(0)])
    if len(wanted.udp_ports) > MOST_PORTS:
        code += _when(_JEQ, _UDP, [_ret(SNAP_LENGTH)])
    elif wanted.udp_ports:
        ports = tuple(sorted(wanted.udp_ports))
        both = [(_LDH_X, 0, 0, offset), *_any_of(ports), (_LDH_X, 0, 0, offset + 2), *_any_of(ports)]
        code += _when(_JEQ, _UDP, [*both, _ret(0)])
    return code


def _any_of(values: tuple[int, ...]) -> list[Instruction]:
    return [instruction for value in values for instruction in _when(_JEQ, value, [_ret(SNAP_LENGTH)])]


def _when(test: int, value: int, body: list[Instruction]) -> list[Instruction]:
    """`body` if the test holds. A conditional jump reaches 255 instructions only, a plain one any number."""
    if len(body) > 255:
        return [(test, 1, 0, value), (_JA, 0, 0, len(body)), *body]
    return [(test, 0, len(body), value), *body]


def _ret(length: int) -> Instruction:
    return (_RET, 0, 0, length)

"""Conditions on a frame, and the classic BPF programs that they become (pure).

The kernel runs a program on frames as they go by, `accepts` on frames that were captured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_sonemu.planning.plan import Network
from pytest_sonemu.relay.socket_filter import Instruction

_LDB, _LDH, _LD = 0x30, 0x28, 0x20
_LDB_X, _LDH_X, _LD_X = 0x50, 0x48, 0x40
_LD_IMM, _LD_MEM, _LD_LEN, _LDX_MEM, _ST = 0x00, 0x60, 0x80, 0x61, 0x02
_ADD, _AND, _LSH, _ADD_X = 0x04, 0x54, 0x64, 0x0C
_JA, _JEQ, _JGT, _JGE, _JSET, _RET = 0x05, 0x15, 0x25, 0x35, 0x45, 0x06
_AD_PKTTYPE, _AD_IFINDEX, _AD_VLAN, _AD_VLAN_THERE = (0xFFFFF000 + offset for offset in (4, 8, 44, 48))
_OUTGOING = 4
# Scratch memory: length of the tags in the frame, EtherType behind them, where the transport header is,
# its protocol (0: none can be read), and whether there are ports.
_TAGS_AT, _KIND, _TRANSPORT, _PROTOCOL = 0, 1, 2, 3
_IPV4, _IPV6, _ARP = 0x0800, 0x86DD, 0x0806
_TAG_KINDS = (0x8100, 0x88A8, 0x9100)
_TCP, _UDP, _ICMP, _ICMPV6 = 6, 17, 1, 58
WHOLE = 262144


@dataclass(frozen=True, slots=True)
class Not:
    part: Node


@dataclass(frozen=True, slots=True)
class Both:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Either:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Test:
    """Load something into the accumulator, mask it, and compare it."""

    load: tuple[tuple[int, int], ...]
    value: int
    test: int = _JEQ


Node = Not | Both | Either | Test
EVERYTHING = Both(())


# -- conditions ---------------------------------------------------------------------------------

KINDS: dict[str, Node] = {
    "ip": Test(((_LD_MEM, _KIND),), _IPV4),
    "ip6": Test(((_LD_MEM, _KIND),), _IPV6),
    "arp": Test(((_LD_MEM, _KIND),), _ARP),
    "broadcast": Both((Test(((_LD, 0),), 0xFFFFFFFF), Test(((_LDH, 4),), 0xFFFF))),
    "multicast": Test(((_LDB, 0),), 1, _JSET),
}


def protocol(numbers: tuple[int, ...]) -> Node:
    """One of these IP protocols."""
    return Either(tuple(Test(((_LD_MEM, _PROTOCOL),), number) for number in numbers))


def flag(bit: int) -> Node:
    """A flag of TCP."""
    flags = ((_LDX_MEM, _TRANSPORT), (_LDB_X, 13))
    return Both((protocol((_TCP,)), Not(Test(((_LD_MEM, _TRANSPORT),), 0)), Test(flags, bit, _JSET)))


def vlan(number: int | None) -> Node:
    """An outer tag with that VLAN id, or with any."""
    taken_off: Node = Test(((_LD, _AD_VLAN_THERE),), 1)
    in_frame: Node = Not(Test(((_LD_MEM, _TAGS_AT),), 0))
    if number is not None:
        taken_off = Both((taken_off, Test(((_LD, _AD_VLAN), (_AND, 0xFFF)), number)))
        in_frame = Both((in_frame, Test(((_LDH, 14), (_AND, 0xFFF)), number)))
    return Either((taken_off, in_frame))


def within(network: Network, side: str) -> Node:
    """An address of one side ("src", "dst") in a network; of IPv4 in ARP too."""
    start = (26 if network.version == 4 else 22) + (0 if side == "src" else 4 if network.version == 4 else 16)
    kind = Test(((_LD_MEM, _KIND),), _IPV4 if network.version == 4 else _IPV6)
    words = []
    address, mask = network.network_address.packed, network.netmask.packed
    for at in range(0, len(address), 4):
        bits = int.from_bytes(mask[at : at + 4], "big")
        if bits:
            load = ((_LDX_MEM, _TAGS_AT), (_LD_X, start + at), (_AND, bits))
            words.append(Test(load, int.from_bytes(address[at : at + 4], "big")))
    parts: list[Node] = [kind, *words]
    if network.version == 4:  # as tcpdump: ARP speaks of addresses too
        arp_start = 28 if side == "src" else 38
        bits = int.from_bytes(mask, "big")
        arp = Test(((_LDX_MEM, _TAGS_AT), (_LD_X, arp_start), (_AND, bits)), int.from_bytes(address, "big"))
        return Either((Both(tuple(parts)), Both((KINDS["arp"], arp))))
    return Both(tuple(parts))


def port_between(low: int, high: int, side: str, protocols: tuple[int, ...]) -> Node:
    """A port of one side ("src", "dst") from `low` to `high`, in TCP, UDP or both."""
    load = ((_LDX_MEM, _TRANSPORT), (_LDH_X, 0 if side == "src" else 2))
    inside = Test(load, low) if low == high else Both((Test(load, low, _JGE), Not(Test(load, high, _JGT))))
    return Both((protocol(protocols), Not(Test(((_LD_MEM, _TRANSPORT),), 0)), inside))


def longer(size: int) -> Node:
    """Frames of so many bytes or more."""
    return Test(((_LD_LEN, 0),), size, _JGE)


def ether_kind(number: int) -> Node:
    """The EtherType behind all tags."""
    return Test(((_LD_MEM, _KIND),), number)


def mac(value: int, side: str) -> Node:
    """The MAC address of one side."""
    start = 6 if side == "src" else 0
    return Both((Test(((_LD, start),), value >> 16), Test(((_LDH, start + 4),), value & 0xFFFF)))


# -- programs -----------------------------------------------------------------------------------


def kernel_program(
    node: Node,
    indexes: Iterable[int] = (),
    *,
    newer_than: int | None = None,
    outgoing: bool | None = None,
    snap: int = WHOLE,
) -> list[Instruction]:
    """The program for a packet socket: frames of these interfaces, or of any newer than one, that match.

    `outgoing` True takes only frames that the interface sends, False those that it receives.
    """
    places: list[Node] = [Test(((_LD, _AD_IFINDEX),), index) for index in indexes]
    if newer_than is not None:
        places.append(Test(((_LD, _AD_IFINDEX),), newer_than, _JGT))
    parts: list[Node] = [Either(tuple(places))] if places else []
    if outgoing is not None:
        sent = Test(((_LD, _AD_PKTTYPE),), _OUTGOING)
        parts.append(sent if outgoing else Not(sent))
    return _assemble(Both((*parts, node)), snap)


def accepts(program: Sequence[Instruction], frame: bytes) -> bool:
    """Run a program on a frame with its tags in it, as the kernel would."""
    memory = [0] * 16
    accumulator = index = at = 0
    while True:
        code, then, otherwise, value = program[at]
        at += 1
        if code == _RET:
            return value != 0
        if code == _JA:
            at += value
        elif code & 0x07 == 0x05:
            held = (
                accumulator == value if code == _JEQ
                else accumulator > value if code == _JGT
                else accumulator >= value if code == _JGE
                else accumulator & value != 0
            )  # fmt: skip
            at += then if held else otherwise
        elif code in _SIZES:
            size, indexed = _SIZES[code]
            if value >= 0xFFFFF000:  # what the kernel knows beside the frame; the tag is in the frame here
                accumulator = 0
                continue
            start = value + (index if indexed else 0)
            if start + size > len(frame):
                return False
            accumulator = int.from_bytes(frame[start : start + size], "big")
        else:
            accumulator, index = _calculate(code, value, accumulator, index, memory, len(frame))


_SIZES = {
    _LDB: (1, False), _LDH: (2, False), _LD: (4, False),
    _LDB_X: (1, True), _LDH_X: (2, True), _LD_X: (4, True),
}  # fmt: skip


def _calculate(
    code: int, value: int, accumulator: int, index: int, memory: list[int], length: int
) -> tuple[int, int]:
    match code:
        case 0x02:  # store
            memory[value] = accumulator
        case 0x61:  # memory to index
            index = memory[value]
        case 0x60:  # memory to accumulator
            accumulator = memory[value]
        case 0x00:  # constant
            accumulator = value
        case 0x80:  # length of the frame
            accumulator = length
        case 0x04:  # add
            accumulator += value
        case 0x0C:  # add index
            accumulator += index
        case 0x54:  # and
            accumulator &= value
        case 0x64:  # shift left
            accumulator <<= value
    return accumulator & 0xFFFFFFFF, index


# -- from nodes to instructions -------------------------------------------------------------------


class _Code:
    """Instructions with jumps to labels; every jump is made of one that is short and two that are long."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, int, str]] = []
        self.places: dict[str, int] = {}
        self._count = 0

    def label(self) -> str:
        self._count += 1
        return f"L{self._count}"

    def put(self, *instructions: tuple[int, int]) -> None:
        for code, value in instructions:
            self.lines.append((code, value, ""))

    def here(self, label: str) -> None:
        self.places[label] = len(self.lines)

    def jump(self, label: str) -> None:
        self.lines.append((_JA, 0, label))

    def branch(self, test: int, value: int, held: str, otherwise: str) -> None:
        self.lines.append((test, value, ""))
        self.jump(held)
        self.jump(otherwise)

    def finish(self) -> list[Instruction]:
        made: list[Instruction] = []
        for at, (code, value, label) in enumerate(self.lines):
            if label:
                made.append((_JA, 0, 0, self.places[label] - at - 1))
            elif code in (_JEQ, _JGT, _JGE, _JSET):
                made.append((code, 0, 1, value))
            else:
                made.append((code, 0, 0, value))
        return made


def _assemble(node: Node, snap: int) -> list[Instruction]:
    code = _Code()
    if _reads_headers(node):  # which fails on a frame that has none
        _prologue(code)
    yes, no = code.label(), code.label()
    _branches(code, node, yes, no)
    code.here(yes)
    code.put((_RET, snap))
    code.here(no)
    code.put((_RET, 0))
    return code.finish()


def _reads_headers(node: Node) -> bool:
    if isinstance(node, Test):
        return any(code in (_LD_MEM, _LDX_MEM) for code, _ in node.load)
    parts = (node.part,) if isinstance(node, Not) else node.parts
    return any(map(_reads_headers, parts))


def _prologue(code: _Code) -> None:
    """Where things are in this frame; the kernel has taken the first tag off, a second is still in it."""
    ready, tagged, twice = code.label(), code.label(), code.label()
    code.put((_LD_IMM, 0), (_ST, _TAGS_AT), (_ST, _TRANSPORT), (_ST, _PROTOCOL), (_LDH, 12), (_ST, _KIND))
    _any_tag(code, tagged, ready)
    code.here(tagged)
    code.put((_LD_IMM, 4), (_ST, _TAGS_AT), (_LDH, 16), (_ST, _KIND))
    _any_tag(code, twice, ready)
    code.here(twice)
    code.put((_LD_IMM, 8), (_ST, _TAGS_AT), (_LDH, 20), (_ST, _KIND))
    code.here(ready)
    version4, not4, version6, done = (code.label() for _ in range(4))
    code.branch(_JEQ, _IPV4, version4, not4)
    code.here(version4)
    first = code.label()
    code.put(
        (_LDX_MEM, _TAGS_AT), (_LDB_X, 23), (_ST, _PROTOCOL),
        (_LDB_X, 14), (_AND, 0xF), (_LSH, 2), (_ADD, 14), (_ADD_X, 0), (_ST, _TRANSPORT), (_LDH_X, 20),
    )  # fmt: skip
    later = code.label()
    code.branch(_JSET, 0x1FFF, later, first)
    code.here(later)  # a later fragment has no ports
    code.put((_LD_IMM, 0), (_ST, _TRANSPORT))
    code.here(first)
    code.jump(done)
    code.here(not4)
    code.branch(_JEQ, _IPV6, version6, done)
    code.here(version6)
    code.put(
        (_LDX_MEM, _TAGS_AT), (_LDB_X, 20), (_ST, _PROTOCOL), (_LD_IMM, 54), (_ADD_X, 0), (_ST, _TRANSPORT)
    )
    code.here(done)


def _any_tag(code: _Code, yes: str, no: str) -> None:
    for kind in _TAG_KINDS:
        onward = code.label()
        code.branch(_JEQ, kind, yes, onward)
        code.here(onward)
    code.jump(no)


def _branches(code: _Code, node: Node, yes: str, no: str) -> None:
    if isinstance(node, Not):
        _branches(code, node.part, no, yes)
    elif isinstance(node, Test):
        code.put(*node.load)
        code.branch(node.test, node.value, yes, no)
    elif isinstance(node, Both):
        for part in node.parts:
            onward = code.label()
            _branches(code, part, onward, no)
            code.here(onward)
        code.jump(yes)
    else:
        for part in node.parts:
            onward = code.label()
            _branches(code, part, yes, onward)
            code.here(onward)
        code.jump(no)

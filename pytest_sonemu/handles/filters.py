"""The filter language of captures: what network people know from tcpdump, with names of the service (pure).

    tcp port 80 and host server
    udp src port 53 or icmp
    not arp and (net 10.30.0.0/16 or vlan 7)

Primitives: `ip`, `ip6`, `arp`, `tcp`, `udp`, `icmp` (of both versions), `icmp6` (of
IPv6 only); `[src|dst] host NAME|ADDRESS`,
`[src|dst] net CIDR`, `[tcp|udp] [src|dst] port N`, `portrange A-B`; `ether [src|dst] host MAC`,
`ether proto N`; `vlan [N]`, `broadcast`, `multicast`; `syn`, `fin`, `rst` (of TCP); `less N`,
`greater N` (bytes of the frame). Join them by `and`, `or`, `not` and parentheses. A VLAN tag hides
nothing: `tcp` is also the TCP in a tagged frame.

An expression becomes a classic BPF program, which the kernel runs on frames as they go by and
`accepts` on frames that were captured.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network

from pytest_sonemu.errors import ProbeError, did_you_mean
from pytest_sonemu.handles import filter_program
from pytest_sonemu.handles.filter_program import EVERYTHING, KINDS, Both, Either, Node, Not
from pytest_sonemu.planning.plan import Address, Network

Resolve = Callable[[str], Iterable[Address]]

_TCP, _UDP, _ICMP, _ICMPV6 = 6, 17, 1, 58
_FLAGS = {"fin": 0x01, "syn": 0x02, "rst": 0x04}
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.IGNORECASE)
_PROTOCOLS = {"tcp": (_TCP,), "udp": (_UDP,), "icmp": (_ICMP, _ICMPV6), "icmp6": (_ICMPV6,)}
_WORDS = (
    *KINDS, *_PROTOCOLS, *_FLAGS, "src", "dst", "host", "net", "port", "portrange", "ether", "vlan",
    "less", "greater", "not", "and", "or",
)  # fmt: skip


def parse(text: str, resolve: Resolve | None = None) -> Node:
    """Read an expression; an empty one wants everything. Raises ProbeError that shows the place.

    `resolve` gives the addresses of a name behind `host`.
    """
    words = re.findall(r"\(|\)|!(?!=)|&&|\|\||[^\s()!]+", text)
    if not words:
        return EVERYTHING
    parser = _Parser(text, words, resolve)
    node = parser.either()
    if parser.word is not None:
        parser.fail("and, or")
    return node


class _Parser:
    def __init__(self, text: str, words: list[str], resolve: Resolve | None) -> None:
        self.text, self.words, self.resolve = text, words, resolve
        self.at = 0

    @property
    def word(self) -> str | None:
        return self.words[self.at] if self.at < len(self.words) else None

    def take(self) -> str:
        word = self.word
        if word is None:
            self.fail("more")
        self.at += 1
        return word or ""

    def fail(self, wanted: str) -> None:
        found = f"'{self.word}'" if self.word is not None else "its end"
        hint = did_you_mean(self.word or "", _WORDS)
        raise ProbeError(f"filter '{self.text}': {wanted} expected instead of {found}{hint}")

    def either(self) -> Node:
        parts = [self.both()]
        while self.word in ("or", "||"):
            self.at += 1
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def both(self) -> Node:
        parts = [self.one()]
        while self.word is not None and self.word not in ("or", "||", ")"):
            # "tcp syn" is "tcp and syn".
            if self.word in ("and", "&&"):
                self.at += 1
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else Both(tuple(parts))

    def one(self) -> Node:
        if self.word in ("not", "!"):
            self.at += 1
            return Not(self.one())
        if self.word == "(":
            self.at += 1
            inside = self.either()
            if self.word != ")":
                self.fail("')'")
            self.at += 1
            return inside
        return self.primitive()

    def primitive(self) -> Node:
        word = self.word
        if word in KINDS:
            return KINDS[self.take()]
        if word in _PROTOCOLS:
            protocols = _PROTOCOLS[self.take()]
            if self.word in ("src", "dst", "port", "portrange") and self._next_is_port():
                return self._ports(protocols)
            return filter_program.protocol(protocols)
        if word in _FLAGS:
            return filter_program.flag(_FLAGS[self.take()])
        if word in ("less", "greater"):
            self.at += 1
            value = self._number()
            return Not(filter_program.longer(value + 1)) if word == "less" else filter_program.longer(value)
        if word == "vlan":
            self.at += 1
            return filter_program.vlan(self._number() if (self.word or "").isdigit() else None)
        if word == "ether":
            self.at += 1
            return self._ether()
        if word in ("src", "dst", "host", "net", "port", "portrange"):
            return self._ports((_TCP, _UDP)) if self._next_is_port() else self._addresses()
        self.fail("a condition")
        raise AssertionError

    def _next_is_port(self) -> bool:
        ahead = self.words[self.at : self.at + 2]
        return bool(ahead) and (ahead[0] if ahead[0] not in ("src", "dst") else ahead[-1]) in (
            "port",
            "portrange",
        )

    def _sides(self) -> tuple[str, ...]:
        if self.word in ("src", "dst"):
            return (self.take(),)
        return ("src", "dst")

    def _ports(self, protocols: tuple[int, ...]) -> Node:
        sides = self._sides()
        ranged = self.take() == "portrange"
        low, _, high = self.take().partition("-") if ranged else (self.take(), "", "")
        if not low.isdigit() or (ranged and not high.isdigit()) or not int(low) <= int(high or low) <= 0xFFFF:
            self.at -= 1
            self.fail("a range of ports (1-1024)" if ranged else "a port")
        ports = int(low), int(high or low)
        return Either(tuple(filter_program.port_between(*ports, side, protocols) for side in sides))

    def _addresses(self) -> Node:
        sides = self._sides()
        word = self.take()
        if word not in ("host", "net"):
            self.at -= 1
            self.fail("host, net or port")
        text = self.take()
        try:
            networks = [ip_network(text, strict=False)] if word == "net" else self._hosts(text)
        except ValueError:
            self.at -= 1
            self.fail("a network (10.30.0.0/16)" if word == "net" else "an address or a name")
        return Either(tuple(filter_program.within(network, side) for network in networks for side in sides))

    def _hosts(self, text: str) -> list[Network]:
        try:
            addresses = [ip_address(text)]
        except ValueError:
            if self.resolve is None:
                raise
            addresses = list(self.resolve(text))
            if not addresses:
                raise ProbeError(f"filter '{self.text}': {text} has no address") from None
        return [ip_network(address) for address in addresses]

    def _ether(self) -> Node:
        if self.word == "proto":
            self.at += 1
            text = self.take()
            try:
                return filter_program.ether_kind(int(text, 0))
            except ValueError:
                self.at -= 1
                self.fail("a number (0x88b5)")
        sides = self._sides()
        if self.take() != "host":
            self.at -= 1
            self.fail("host or proto")
        mac = self.take()
        if not _MAC.fullmatch(mac):
            self.at -= 1
            self.fail("a MAC address")
        value = int(mac.replace(":", ""), 16)
        return Either(tuple(filter_program.mac(value, side) for side in sides))

    def _number(self) -> int:
        if not (self.word or "").isdigit():
            self.fail("a number")
        return int(self.take())

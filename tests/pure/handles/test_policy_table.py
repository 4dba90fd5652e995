"""Policy tables are read from whatever people write them in."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles.own_files import OwnFiles
from pytest_sonemu.handles.policy_table import PolicyResult, PolicyRow, PolicyRule, read_table
from pytest_sonemu.handles.results import ConnectResult, Outcome, PathVerdict

EXPECTED = (
    PolicyRule("input", "server", "tcp", 80, "allow"),
    PolicyRule("input", "server:data", "udp", 53, "drop"),
    PolicyRule("input", "server", "icmp", None, "allow"),
)
TEXT = """
    from   to           proto  port  verdict   # as in the office

    input  server       tcp    80    accept
    input  server:data  UDP    53    drop
    input  server       icmp   -     allow
"""
CSV = """verdict,from,to,proto,port
allow, input, server, tcp, 80
drop,input,server:data,udp,53
allow,input,server,ping,
"""
MARKDOWN = """
| from | to | proto | port | verdict |
|---|---|---|---|---|
| input | server | tcp | 80 | allow |
| input | server:data | udp | 53 | drop |
| input | server | icmp | any | allow |
"""


def bare(rules: tuple[PolicyRule, ...]) -> tuple[PolicyRule, ...]:
    return tuple(replace(rule, line=0) for rule in rules)


@pytest.mark.parametrize("table", [TEXT, CSV, MARKDOWN], ids=["text", "csv", "markdown"])
def test_a_text_and_a_file_say_the_same(table: str, tmp_path: Path) -> None:
    (tmp_path / "policy.csv").write_text(table)
    assert bare(read_table(table)) == bare(read_table("policy.csv", OwnFiles([tmp_path]))) == EXPECTED


def test_rows() -> None:
    names = ("from", "to", "proto", "port", "verdict")
    rows = [("input", "server", "tcp", 80, "allow"), ["input", "server:data", "udp", "53", "drop"]]
    assert bare(read_table(rows)) == EXPECTED[:2]
    assert bare(read_table([dict(zip(names, row, strict=True)) for row in rows])) == EXPECTED[:2]
    assert read_table(EXPECTED) == EXPECTED


def test_ports_are_spread() -> None:
    versions = read_table("a b tcp 80 allow\na b TCP6 80 allow\na b udp4 80 deny\na b icmpv6 - deny")
    assert [(rule.protocol, rule.version) for rule in versions] == [
        ("tcp", None), ("tcp", 6), ("udp", 4), ("icmp", 6),
    ]  # fmt: skip
    rules = read_table("a b tcp 80,8000-8002 allow\na b tcp 22 deny")
    assert [rule.port for rule in rules] == [80, 8000, 8001, 8002, 22]
    assert [rule.line for rule in rules] == [1, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("a b tcp 80 allow\na b tcp 80", "line 2: 4 columns instead of 5"),
        ("a b tcp 80 perhaps", "line 1: 'perhaps' is not a verdict"),
        ("a b sctp 80 allow", "'sctp' is not a protocol"),
        ("a b tcp http allow", "'http' is not a port"),
        ("a b tcp 0 allow", "not a port from 1 to 65535"),
        ("a b icmp 8 allow", "ICMP has no port"),
        ("# nothing\n", "no row"),
        ([("a", "b", "tcp", 80)], "row 1: 4 columns"),
        ("there-is-none.csv", "there-is-none.csv: No such file"),
    ],
)
def test_what_is_wrong_is_told(table: object, said: str) -> None:
    with pytest.raises(ProbeError, match=said):
        read_table(table)  # type: ignore[arg-type]


def row(verdict: str, outcome: Outcome, lost_at: str | None = None) -> PolicyRow:
    way = PathVerdict(open=False)
    address = ip_address("10.30.1.2")
    probe = ConnectResult(outcome, "input", "server", address, "tcp", 80, way, "", lost_at=lost_at)
    return PolicyRow(PolicyRule("input", "server", "tcp", 80, verdict, 3), outcome, probe)


@pytest.mark.parametrize(
    ("verdict", "outcome", "holds"),
    [
        ("allow", "open", True),
        ("allow", "delivered", True),
        ("allow", "dropped", False),
        ("deny", "dropped", True),
        ("deny", "rejected", True),
        ("deny", "open", False),
        ("drop", "rejected", False),
        ("reject", "rejected", True),
        ("refused", "refused", True),
        ("refused", "open", False),
    ],
)
def test_verdicts(verdict: str, outcome: Outcome, holds: bool) -> None:
    assert row(verdict, outcome).ok is holds


def test_the_diff_has_only_what_differs() -> None:
    result = PolicyResult((row("allow", "open"), row("allow", "dropped", "fw")), 0.5)
    assert not result
    assert str(result).splitlines() == [
        "1 of 2 rows differ (0.50 s)",
        "  from   to      proto  port  verdict",
        "- input  server  tcp    80    allow  (line 3)",
        "+ input  server  tcp    80    dropped, lost at fw",
    ]
    assert repr(result) == (
        "<policy: 1 of 2 rows differ (0.50 s): input server tcp 80 allow: dropped, lost at fw>"
    )
    with pytest.raises(AssertionError, match="lost at fw"):
        result.check()
    assert PolicyResult((row("allow", "open"),), 0.5)

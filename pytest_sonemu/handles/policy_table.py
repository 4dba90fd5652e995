"""Tables of what may pass and what may not: read from text, CSV or rows, and compared (pure)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles.results import ConnectResult, Outcome, PingResult, one_line
from pytest_sonemu.handles.targets import Family

if TYPE_CHECKING:
    from pytest_sonemu.handles.own_files import OwnFiles

PolicyProtocol = Literal["tcp", "udp", "icmp"]
Verdict = Literal["allow", "deny", "drop", "reject"]
COLUMNS = ("from", "to", "proto", "port", "verdict")
_OUTCOMES: frozenset[str] = frozenset(get_args(Outcome))
_WORDS: dict[str, str] = {
    **{word: word for word in get_args(Verdict)},
    **dict.fromkeys(("accept", "permit", "pass", "allowed", "yes"), "allow"),
    **dict.fromkeys(("block", "forbid", "denied", "no"), "deny"),
    **{outcome: outcome for outcome in _OUTCOMES},
}
_MEANT: dict[str, frozenset[str]] = {
    "allow": frozenset({"open", "delivered", "refused", "unanswered"}),
    # Not "not_sent": what was never tried was kept back by nobody.
    "deny": frozenset({"dropped", "rejected", "no_route"}),
    "drop": frozenset({"dropped"}),
    "reject": frozenset({"rejected"}),
}
_NAMES: dict[str, PolicyProtocol] = {"tcp": "tcp", "udp": "udp", "icmp": "icmp", "ping": "icmp"}
_VERSIONS: dict[str, Family | None] = {"": None, "4": 4, "6": 6}
_PROTOCOLS = {
    f"{name}{digit}": (protocol, version)
    for name, protocol in _NAMES.items()
    for digit, version in _VERSIONS.items()
} | {"icmpv6": ("icmp", 6)}
_NO_PORT = frozenset({"", "-", "*", "any"})
_LARGEST = 5000

Table = str | Path | Iterable["PolicyRule | Mapping[str, object] | Sequence[object]"]


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One row: may this pass? `port` None for ICMP; `line` is where it stands in its table.

    `version` is IP's; None: of both where source and target have both, else of the one that they have.
    `verdict`: "allow" (it arrives), "deny" (it does not), "drop", "reject", or an outcome of `connect`.
    """

    source: str
    target: str
    protocol: PolicyProtocol
    port: int | None
    verdict: str
    line: int = 0
    version: Family | None = None

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """From, to, protocol, port and verdict as they stand in a table."""
        port = "-" if self.port is None else str(self.port)
        return self.source, self.target, f"{self.protocol}{self.version or ''}", port, self.verdict

    def __str__(self) -> str:
        return " ".join(self.cells)


@dataclass(frozen=True, slots=True, repr=False)
class PolicyRow:
    """A rule, and what was seen instead or as well: the probe, and its outcome."""

    rule: PolicyRule
    outcome: str
    probe: ConnectResult | PingResult

    @property
    def ok(self) -> bool:
        """Whether what was seen is what the rule wants."""
        wanted = self.rule.verdict
        return self.outcome in _MEANT.get(wanted, frozenset({wanted}))

    @property
    def seen(self) -> str:
        """What happened, in words: `"dropped, lost at fw"`."""
        if isinstance(self.probe, PingResult):
            return self.outcome + (f", {self.probe.error}" if self.probe.error else "")
        where = f", lost at {self.probe.lost_at}" if self.probe.lost_at else ""
        return self.outcome + (where or (f" by {self.probe.by}" if self.probe.by else ""))

    def __repr__(self) -> str:
        return one_line(f"<{self.rule}: {'as wanted' if self.ok else self.seen}>")


@dataclass(frozen=True, slots=True, repr=False)
class PolicyResult:
    """What became of a table: true if every row holds. `str` of it is the diff of those that do not.

    `absent` tells which VNFs did not run where rows were met by silence ("fw has exited"); "" if all did.
    """

    rows: tuple[PolicyRow, ...]
    duration: float
    absent: str = ""

    @property
    def differences(self) -> tuple[PolicyRow, ...]:
        """The rows that do not hold."""
        return tuple(row for row in self.rows if not row.ok)

    @property
    def ok(self) -> bool:
        """Whether every row holds."""
        return not self.differences

    def check(self) -> None:
        """Raise AssertionError with the diff if a row does not hold."""
        if not self.ok:
            raise AssertionError(str(self))

    @property
    def diff(self) -> tuple[str, ...]:
        """Two lines a row that differs: `-` as the table has it, `+` as it was seen."""
        cells = [COLUMNS, *(row.rule.cells for row in self.differences)]
        widths = [max(len(row[column]) for row in cells) for column in range(4)]

        def line(mark: str, row: Sequence[str], last: str) -> str:
            padded = (cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True))
            return f"{mark} {'  '.join(padded)}  {last}"

        found = [line(" ", COLUMNS, COLUMNS[-1])] if self.differences else []
        for row in self.differences:
            where = f"  (line {row.rule.line})" if row.rule.line else ""
            found.append(line("-", row.rule.cells, row.rule.verdict + where))
            found.append(line("+", row.rule.cells, row.seen))
        return tuple(found)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return "\n".join([self._headline, *self.diff])

    def __repr__(self) -> str:
        shown = "; ".join(f"{row.rule}: {row.seen}" for row in self.differences)
        return one_line(f"<policy: {self._headline}{f': {shown}' if shown else ''}>")

    @property
    def _headline(self) -> str:
        bad, every = len(self.differences), len(self.rows)
        taken = f"({self.duration:.2f} s){f'; {self.absent}' if self.absent else ''}"
        return f"{bad} of {every} rows differ {taken}" if bad else f"all {every} rows hold {taken}"


def read_table(table: Table, files: OwnFiles | None = None) -> tuple[PolicyRule, ...]:
    """The rows of a table; ports "80,443" and "8000-8010" are as many rows.

    A text with line breaks, a file (of `files`, if its path is relative) or rows: five columns, from, to,
    proto, port, verdict, parted by blanks, `|` or commas; the head line may name them in another order.
    Blank lines and what follows `#` are skipped. Raises ProbeError with the line.
    """
    if isinstance(table, str) and "\n" not in table.strip() and len(table.split()) == 1:
        table = Path(table)
    if isinstance(table, Path):
        place = files.place(table) if files is not None else table
        try:
            text = place.read_text()
        except OSError as error:
            raise ProbeError(f"policy table {place}: {error.strerror}") from error
        return _rules(_cells(text), f"{place}:")
    if isinstance(table, str):
        return _rules(_cells(table), "line ")
    rules: list[PolicyRule] = []
    for number, row in enumerate(table, start=1):
        if isinstance(row, PolicyRule):
            rules.append(row)
        elif isinstance(row, Mapping):
            rules += _expand([str(row.get(column, "")) for column in COLUMNS], number, f"row {number}")
        else:
            rules += _expand([str(cell) for cell in row], number, f"row {number}")
    return _not_empty(rules)


def _cells(text: str) -> list[tuple[int, list[str]]]:
    every = ((number, line.partition("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1))
    lines = [(number, line) for number, line in every if line]
    head = lines[0][1] if lines else ""
    if "|" not in head and head.count(",") >= len(COLUMNS) - 1:
        rows = csv.reader((line for _, line in lines), skipinitialspace=True)
        numbers = (number for number, _ in lines)
        return [(at, [cell.strip() for cell in row]) for at, row in zip(numbers, rows, strict=True)]
    found = []
    for number, line in lines:
        if "|" not in line:
            found.append((number, line.split()))
        elif set(line) - set("|-: +"):  # else the rule below a table's head
            found.append((number, [cell.strip() for cell in line.strip("|").split("|")]))
    return found


def _rules(rows: list[tuple[int, list[str]]], place: str) -> tuple[PolicyRule, ...]:
    order: Sequence[str] = COLUMNS
    rules: list[PolicyRule] = []
    for at, (number, cells) in enumerate(rows):
        if at == 0 and sorted(cell.lower() for cell in cells) == sorted(COLUMNS):
            order = [cell.lower() for cell in cells]
            continue
        if len(cells) != len(COLUMNS):
            raise ProbeError(f"{place}{number}: {len(cells)} columns instead of 5: {' '.join(COLUMNS)}")
        by_name = dict(zip(order, cells, strict=True))
        rules += _expand([by_name[column] for column in COLUMNS], number, f"{place}{number}")
    return _not_empty(rules)


def _not_empty(rules: list[PolicyRule]) -> tuple[PolicyRule, ...]:
    if not rules:
        raise ProbeError("the policy table has no row: all of nothing would hold")
    if len(rules) > _LARGEST:
        raise ProbeError(
            f"the policy table has {len(rules)} rows; more than {_LARGEST} are not tried at once"
        )
    return tuple(rules)


def _expand(cells: Sequence[str], number: int, place: str) -> list[PolicyRule]:
    if len(cells) != len(COLUMNS):
        raise ProbeError(f"{place}: {len(cells)} columns instead of 5: {' '.join(COLUMNS)}")
    source, target, written, ports, word = (cell.strip() for cell in cells)
    verdict = _WORDS.get(word.lower())
    if verdict is None:
        known = ", ".join([*get_args(Verdict), *sorted(_OUTCOMES)])
        raise ProbeError(f"{place}: '{word}' is not a verdict; it is one of {known}")
    if not source or not target:
        raise ProbeError(f"{place}: 'from' and 'to' name endpoints")
    if written.lower() not in _PROTOCOLS:
        raise ProbeError(
            f"{place}: '{written}' is not a protocol; it is tcp, udp or icmp, or of one IP version like tcp6"
        )
    protocol, version = _PROTOCOLS[written.lower()]
    if protocol == "icmp":
        if ports.lower() not in _NO_PORT:
            raise ProbeError(f"{place}: ICMP has no port; write '-'")
        return [PolicyRule(source, target, protocol, None, verdict, number, version)]
    return [
        PolicyRule(source, target, protocol, port, verdict, number, version) for port in _ports(ports, place)
    ]


def _ports(text: str, place: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ProbeError(f"{place}: '{text}' is not a port; write 80, 80,443 or 8000-8010")
        found += range(int(first), int(last or first) + 1)
    if not found or not all(0 < port < 65536 for port in found):
        raise ProbeError(f"{place}: '{text}' is not a port from 1 to 65535, nor a range of such")
    return found

"""What `sonemu.yml` beside a package expects of its service: the policy table, the forwarding paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pytest_sonemu.descriptors import located
from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.errors import did_you_mean

if TYPE_CHECKING:
    from pytest_sonemu.descriptors.model import NetworkService
    from pytest_sonemu.handles.policy_table import PolicyRule

RULE = "sonemu_options"


@dataclass(frozen=True)
class Expectations:
    """`paths`: for each path named, how it is tried (keywords of `is_followed`), or None: not at all."""

    policy: tuple[PolicyRule, ...] = ()
    paths: Mapping[str, Mapping[str, Any] | None] | None = None

    def path(self, path_id: str) -> tuple[bool, Mapping[str, Any] | None]:
        """Whether the path is named, and how it is to be tried."""
        named = self.paths or {}
        return path_id in named, named.get(path_id, {})


def read_expectations(said: Mapping[str, object]) -> Expectations:
    """From the plain data of a `sonemu.yml` in which `expectation_findings` found nothing."""
    from pytest_sonemu.handles.policy_table import read_table

    rows = cast("list[dict[str, object]]", said.get("policy") or [])
    paths = cast("dict[str, Any]", said.get("paths") or {})
    table = [{"proto": "tcp", "port": "-", **row} for row in rows]
    return Expectations(
        read_table(table) if table else (),
        {name: None if how is False else {} if how is True else how for name, how in paths.items()},
    )


def expectation_findings(file: Path, service: NetworkService, findings: Findings) -> None:
    """Say what is wrong with `policy` and `paths` of a `sonemu.yml`, with lines and near misses."""
    from pytest_sonemu.planning.option_schema import PATHS, POLICY

    node = located.load(file.read_bytes(), str(file), Findings(), rule=RULE)
    if node is None or not isinstance(node.value, dict):
        return  # said already
    policy, paths = node.value.get("policy"), node.value.get("paths")
    for shape, part, name in ((POLICY, policy, "policy"), (PATHS, paths, "paths")):
        if part is not None and part.value is not None:
            for fault in shape.complaints(part, name):
                findings.error(RULE, fault.message, fault.place, fault.hint)
    if findings.failed:
        return
    for row in policy.value or () if policy is not None else ():
        _check_port(row, findings)
    ends = [*(function.id for function in service.functions), *(sap.id for sap in service.saps)]
    for end in _ends(policy):
        if end.text.partition(":")[0] not in ends:
            message = f"the service has no VNF or SAP '{end.text}'"
            findings.error(RULE, message, end.place, _near(end.text, ends))
    if paths is None or not isinstance(paths.value, dict):
        return
    known = [path.id for path in service.paths]
    for name in paths.value:
        if name not in known:
            message = f"the service has no forwarding path '{name}'"
            findings.error(RULE, message, paths.key_place(name), _near(name, known))


def _check_port(row: located.Node, findings: Findings) -> None:
    proto, port = row.value.get("proto"), row.value.get("port")
    if proto is not None and proto.value == "icmp":
        if port is not None:
            findings.error(RULE, "ICMP has no port", row.key_place("port"), "leave it out")
    elif port is None:
        findings.error(RULE, "a row of the policy without 'port'", row.place, "only those of ICMP have none")


def _ends(policy: located.Node | None) -> Iterator[located.Node]:
    for row in policy.value or () if policy is not None else ():
        yield from (row.value["from"], row.value["to"])


def _near(name: str, known: Iterable[str]) -> str:
    listed = sorted(known)
    return did_you_mean(name, listed).strip(" ()") or f"there are: {', '.join(listed) or 'none'}"

"""Every file of every real package, changed in one place: the change is found, and found where it is."""

from __future__ import annotations

import copy
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_sonemu.descriptors.findings import Finding
from pytest_sonemu.descriptors.read import Verdict, check_bytes
from tests.pure.conftest import SHARED_PACKAGES
from tests.pure.package_writing import MANIFEST

PACKAGES = sorted(path.name for path in SHARED_PACKAGES.glob("*.son"))
Steps = tuple[str | int, ...]

# What the published schemas require, by the path of the key; `*` is any item of a list.
REQUIRED = {
    "manifest": (
        "vendor name version descriptor_version package_content/*/name package_content/*/content-type"
    ),
    "nsd": (
        "vendor name version network_functions/*/vnf_id network_functions/*/vnf_name"
        " network_functions/*/vnf_vendor network_functions/*/vnf_version connection_points/*/id"
        " virtual_links/*/id virtual_links/*/connectivity_type virtual_links/*/connection_points_reference"
        " forwarding_graphs/*/fg_id service_specific_managers/*/id service_specific_managers/*/image"
    ),
    "vnfd": (
        "vendor name version virtual_deployment_units virtual_deployment_units/*/id"
        " virtual_deployment_units/*/vm_image virtual_deployment_units/*/resource_requirements"
        " virtual_deployment_units/*/resource_requirements/cpu"
        " virtual_deployment_units/*/resource_requirements/memory"
        " virtual_deployment_units/*/resource_requirements/cpu/vcpus"
        " virtual_deployment_units/*/resource_requirements/memory/size connection_points/*/id"
        " virtual_links/*/id virtual_links/*/connectivity_type virtual_links/*/connection_points_reference"
        " monitoring_rules/*/name monitoring_rules/*/condition"
    ),
}
# Texts that name something else, which is there: misspelt, they name nothing.
REFERENCES = {
    "manifest": "entry_service_template package_content/*/name",
    "nsd": (
        "network_functions/*/vnf_name network_functions/*/vnf_vendor network_functions/*/vnf_version"
        " virtual_links/*/connection_points_reference/*"
        " forwarding_graphs/*/constituent_virtual_links/* forwarding_graphs/*/constituent_vnfs/*"
        " forwarding_graphs/*/network_forwarding_paths/*/connection_points/*/connection_point_ref"
    ),
    "vnfd": "virtual_links/*/connection_points_reference/*",
}
# Where the schemas, and so this project, take whatever is written.
FREE = ("duration_unit", "cores")


@dataclass(frozen=True)
class Source:
    """A package taken apart: the texts of its descriptors as one dumper writes them, without sums."""

    members: dict[str, bytes]
    trees: dict[str, Any]
    kinds: dict[str, str]
    known: frozenset[tuple[str, str]]


@cache
def source(name: str) -> Source:
    with zipfile.ZipFile(SHARED_PACKAGES / name) as archive:
        members = {one: archive.read(one) for one in archive.namelist() if not one.endswith("/")}
    trees: dict[str, Any] = {}
    for one, data in members.items():
        if one == MANIFEST or one.endswith(".yml"):
            trees[one] = yaml.load(data, yaml.CSafeLoader)
    listed = {item["name"].lstrip("/") for item in trees[MANIFEST]["package_content"]}
    trees = {one: tree for one, tree in trees.items() if one in listed or one == MANIFEST}
    for item in trees[MANIFEST]["package_content"]:
        item.pop("md5", None)  # or every change would be found by its sum
    entry = trees[MANIFEST]["entry_service_template"].lstrip("/")
    kinds = {one: "manifest" if one == MANIFEST else "nsd" if one == entry else "vnfd" for one in trees}
    members |= {one: dumped(tree) for one, tree in trees.items()}
    return Source(members, trees, kinds, frozenset(said(verdict(members))))


def dumped(tree: Any) -> bytes:
    text = yaml.dump(tree, Dumper=yaml.CSafeDumper, sort_keys=False, width=10_000, default_flow_style=False)
    assert isinstance(text, str)
    return text.encode()


def verdict(members: dict[str, bytes]) -> Verdict:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return check_bytes(buffer.getvalue(), "x.son")


def said(of: Verdict) -> Iterator[tuple[str, str]]:
    return ((finding.rule, finding.message) for finding in of.findings)


def steps(tree: Any, before: Steps = ()) -> Iterator[Steps]:
    """The path of every key and item."""
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in entries:
        yield (*before, key)
        yield from steps(value, (*before, key))


def general(path: Steps) -> str:
    return "/".join("*" if isinstance(step, int) else step for step in path)


def at(tree: Any, path: Steps) -> Any:
    for step in path:
        tree = tree[step]
    return tree


def line_of(data: bytes, path: Steps) -> int:
    """The line in which the value at `path` begins, as PyYAML's own composer sees it."""
    node: Any = yaml.compose(data, yaml.CSafeLoader)
    for step in path:
        if isinstance(node, yaml.MappingNode):
            node = next(value for key, value in node.value if key.value == step)
        else:
            node = node.value[step]
    return int(node.start_mark.line) + 1


def misspelt(text: str, place: int) -> str:
    """`text` with one of its letters twice: a letter that is no sign."""
    letters = [match.start() for match in re.finditer(r"[A-Za-z0-9]", text)]
    at_letter = letters[place % len(letters)]
    return text[: at_letter + 1] + text[at_letter] + text[at_letter + 1 :]


def mistyped(value: Any, choice: int) -> Any:
    """A value of another kind than any schema has where `value` stands."""
    if isinstance(value, (dict, list)):
        return ("a text", 5, True)[choice % 3]
    if isinstance(value, str):
        return ([value, "b"], {"a": value}, 5, True)[choice % 4]
    return (["a"], {"a": 1}, "a text")[choice % 3]


def new_at(found: Verdict, known: frozenset[tuple[str, str]], file: str, line: int) -> list[Finding]:
    return [
        finding
        for finding in found.findings
        if (finding.rule, finding.message) not in known
        and finding.place.file == f"x.son/{file}"
        and finding.place.line == line
    ]


@pytest.mark.skipif(not PACKAGES, reason=f"no real packages in {SHARED_PACKAGES}")
@pytest.mark.parametrize("name", PACKAGES)
@given(data=st.data())
@settings(
    max_examples=500,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
def test_a_change_in_one_place_is_found_there(name: str, data: st.DataObject) -> None:
    package = source(name)
    kind = data.draw(st.sampled_from(["dropped", "mistyped", "misspelt", "renamed"]))
    if kind == "renamed":
        check_renamed(package, data)
        return
    file = data.draw(st.sampled_from(sorted(package.trees)))
    wanted = package.kinds[file]
    paths = list(steps(package.trees[file]))
    if kind == "misspelt":
        references = REFERENCES[wanted].split()
        paths = [path for path in paths if general(path) in references]
    elif kind == "dropped":
        paths = [path for path in paths if isinstance(path[-1], str)]
    if not paths:
        return  # a service without links has no references
    path = data.draw(st.sampled_from(paths))
    tree = copy.deepcopy(package.trees[file])
    holder, last = at(tree, path[:-1]), path[-1]
    before = holder[last]
    if kind == "dropped":
        del holder[last]
        expected = path[:-1]
    elif kind == "misspelt":
        if name == "sonata-demo-invalid-integrity-1.son" and "iperf" in f"{before} {holder}":
            return  # what that VNF is, and which points it has, is written in the file that is missing
        place = data.draw(st.integers(0, 50))
        # Of a version a first zero more changes nothing.
        holder[last] = f"{before}1" if last == "vnf_version" else misspelt(str(before), place)
        expected = path
    else:
        holder[last] = mistyped(before, data.draw(st.integers(0, 11)))
        expected = path
    text = dumped(tree)
    found = verdict({**package.members, file: text})
    line = line_of(text, expected) if not (kind == "dropped" and not holder) else 0
    there = new_at(found, package.known, file, line)
    change = f"{file}: {general(path)} {kind}: {before!r}; found: {[str(f) for f in found.findings]}"
    if kind == "dropped":
        if general(path) in REQUIRED[wanted].split() and line:
            assert any(f"'{last}'" in finding.message or "image" in finding.message for finding in there), (
                change
            )
    elif kind == "misspelt":
        assert there, change
        assert any(finding.hint for finding in there), change
    elif last not in FREE and not unknown(package, file, path):
        assert there, change
    lines = text.count(b"\n") + 1
    assert all(finding.place.line <= lines for finding in found.findings if finding.place.file.endswith(file))


def unknown(package: Source, file: str, path: Steps) -> bool:
    """Whether a key on the way is one that the package has and no schema knows."""
    keys = {match[1] for _, message in package.known if (match := re.match(r"unknown key '(.+?)'", message))}
    return any(step in keys for step in path)


def check_renamed(package: Source, data: st.DataObject) -> None:
    listed = {
        item["name"].lstrip("/"): ("package_content", number, "name")
        for number, item in enumerate(package.trees[MANIFEST]["package_content"])
        if item["name"].lstrip("/") in package.members
    }
    member = data.draw(st.sampled_from(sorted({*listed, MANIFEST})))
    renamed = misspelt(member, data.draw(st.integers(0, 50)))
    members = {renamed if one == member else one: text for one, text in package.members.items()}
    found = verdict(members)
    if member == MANIFEST:
        assert not found.usable
        return
    line = line_of(package.members[MANIFEST], listed[member])
    there = new_at(found, package.known, MANIFEST, line)
    assert any(finding.hint == f"did you mean '{renamed}'?" for finding in there), [
        str(finding) for finding in found.findings
    ]


def test_the_folder_of_real_packages_is_looked_for_beside_the_checkout() -> None:
    assert Path(__file__).parents[2].parent / "shared" / "packages" == SHARED_PACKAGES

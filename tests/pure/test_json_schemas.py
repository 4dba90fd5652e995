"""The JSON Schemas in docs/schemas: as the code says them, and as the readers read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_sonemu.cli import main
from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.located import load
from pytest_sonemu.descriptors.shapes import Document
from pytest_sonemu.errors import SettingsError
from pytest_sonemu.handles.starting import OTHER_KEYS
from pytest_sonemu.planning.option_models import sap_option_names, service_option_names, vnf_option_names
from pytest_sonemu.planning.option_schema import OPTIONS, SHAPES
from pytest_sonemu.planning.options import parse_service_options
from pytest_sonemu.topology.read import topology_of
from pytest_sonemu.topology.schema import TOPOLOGY
from tests.pure.test_topology import FULL

HERE = Path(__file__).parents[2]
STORED = {"topology": "topology.schema.json", "options": "sonemu.schema.json"}
FULL_OPTIONS = """\
topology: two-pops.yml
vnfs:
  "*": {settle: 2s, ipv6: off}
  fw:
    image: fw:dev
    build: ./fw
    mounts: [./rules:/etc/rules, ./x:/x:rw]
    env: {MODE: fast, LEVEL: 3, EMPTY: }
    secrets: {TOKEN: x}
    command: [run, -v]
    cpu: 0.5
    memory: 512M
    cap_add: [SYS_TIME]
    sysctls: {net.ipv4.ip_forward: 1}
    ready: ["tcp:80", "log:up"]
    ready_timeout: 1min
    routes: [10.0.0.0/8]
    transparent: [input, output]
    mtu: 9000
    grace: 0.5
    pop: pop1
  web: {ready: "http://:80/", command: "run -v", transparent: true, routes: none, memory: 64000000}
  nothing:
saps:
  input: {pop: pop1, image: "web:dev", uplink: nat}
images: {"sonatanfv/*": sonemu/vnf-base}
placement: {fw: pop1}
address_plan: seed
routes: all
ipv6: true
mtu: 1400
policy: [{from: input, to: web, proto: tcp, port: 80, verdict: allow}]
paths: {through: {tcp: 8080}, other: false}
"""


def both(document: Document, data: Any) -> tuple[bool, bool]:
    """Whether (the shape, the JSON Schema) takes this document."""
    text = yaml.safe_dump(data, default_flow_style=None, sort_keys=False).encode()
    findings = Findings()
    node = load(text, "f.yml", findings)
    assert node is not None, list(findings)
    plain = node.plain()
    by_shape = not list(document.root.complaints(node, "it"))
    by_schema = not list(jsonschema.Draft202012Validator(document.json_schema()).iter_errors(plain))
    return by_shape, by_schema


@pytest.mark.parametrize(("which", "document"), [("topology", TOPOLOGY), ("options", OPTIONS)])
def test_what_is_stored_is_what_the_code_says(which: str, document: Document) -> None:
    jsonschema.Draft202012Validator.check_schema(document.json_schema())
    stored = HERE / "docs" / "schemas" / STORED[which]
    assert stored.read_text() == document.json_text(), f"run: sonemu schema {which} > {stored}"
    printed = CliRunner().invoke(main, ["schema", which])
    assert (printed.exit_code, printed.stdout) == (0, stored.read_text())


def test_every_option_has_its_shape_and_every_shape_its_option() -> None:
    names = {*vnf_option_names(), *sap_option_names(), *service_option_names()} - {"vnfs", "saps"}
    assert set(SHAPES) == names
    assert set(OPTIONS.root.fields) == {*service_option_names(), *OTHER_KEYS}


@pytest.mark.parametrize(("document", "text"), [(TOPOLOGY, FULL), (OPTIONS, FULL_OPTIONS)])
def test_a_full_document_is_taken_by_both(document: Document, text: str) -> None:
    assert both(document, yaml.safe_load(text)) == (True, True)
    if document is OPTIONS:
        parse_service_options(yaml.safe_load(text), "f.yml", also=OTHER_KEYS)


@pytest.mark.parametrize(
    "text",
    [
        "popz: [a]",
        "pops: {a: {cpus: 1}}",
        "pops: {a: {cpu: many}}",
        "pops: [a, b]\nlinks: [[a]]",
        "pops: [a, b]\nlinks: [{between: [a, b], delay: 10 parsecs}]",
        "pops: [a, b]\nlinks: [{between: [a, b], mtu: 10}]",
        "pops: [a, b]\nlinks: [{delay: 1}]",
        "pops: {'a b': }",
        "pops: [a]\nfabric: ovs",
        "pops: [a]\nhosts: {h: }",
        "pops: a",
        "links: []",
    ],
)
def test_what_the_reader_of_topologies_refuses_the_schema_refuses_too(text: str) -> None:
    findings = Findings()
    topology_of(text.encode(), "t.yml", findings)
    assert findings.failed
    assert both(TOPOLOGY, yaml.safe_load(text)) == (False, False)


@pytest.mark.parametrize(
    "text",
    [
        "vnfz: {}",
        "vnfs: {fw: {imge: x}}",
        "vnfs: {fw: {cpu: 0}}",
        "vnfs: {fw: {memory: lots}}",
        "vnfs: {fw: {sysctls: {kernel.x: 1}}}",
        "vnfs: {fw: {transparent: [a]}}",
        "vnfs: {fw: {settle: -1}}",
        "vnfs: {fw: {mounts: [x]}}",
        "vnfs: [fw]",
        "saps: {input: {pops: a}}",
        "placement: rond-robin",
        "address_plan: sead",
        "routes: some",
        "mtu: 9",
    ],
)
def test_what_the_reader_of_options_refuses_the_schema_refuses_too(text: str) -> None:
    with pytest.raises(SettingsError):
        parse_service_options(yaml.safe_load(text), "f.yml", also=OTHER_KEYS)
    assert both(OPTIONS, yaml.safe_load(text)) == (False, False)


_word = st.sampled_from(
    ["a", "pop1", "10ms", "1%", "512M", "auto", "none", "x:/y", "", "10Mbit", "-1", "1e3"]
)
# For a schema -0.0 is no less than 0; as a text it begins with a sign.
_number = st.integers(-2, 99999) | st.floats(-2, 2).map(lambda number: number + 0.0)
_leaf = st.none() | st.booleans() | _number | _word
_keys = st.sampled_from(
    "pops links hosts saps images fabric name cpu memory between delay rate loss mtu pop image uplink a"
    " vnfs routes placement env ready transparent settle mounts".split()
)
_values = st.recursive(
    _leaf,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=8,
)


@example({"pops": [-1]})
@given(st.dictionaries(_keys, _values, max_size=3))
@settings(max_examples=300, deadline=None)
def test_shape_and_schema_judge_alike_and_the_reader_takes_what_they_take(data: dict[str, Any]) -> None:
    for document in (TOPOLOGY, OPTIONS):
        by_shape, by_schema = both(document, data)
        assert by_shape == by_schema, json.dumps(document.json_schema())
    if both(OPTIONS, data)[0]:
        parse_service_options(data, "f.yml", also=OTHER_KEYS)

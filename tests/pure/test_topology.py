from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.errors import TopologyError
from pytest_sonemu.relay.model import Bursts, Impairment
from pytest_sonemu.topology.impairments import Access
from pytest_sonemu.topology.model import AccessLink, Host, PoP, PopLink, SapSite, Topology
from pytest_sonemu.topology.read import as_json, from_json, read_topology, topology_of

FULL = """\
name: lab
pops:
  pop1: {cpu: 2, memory: 4G}
  pop2:
  "no": {cpu: 0.5}
links:
  - [pop1, pop2]
  - {between: [pop2, no], delay: 10ms, rate: 100Mbit, loss: 1%, mtu: 9000, jitter: 1ms}
  - between: [pop1, no]
    rate: 10Mbit
    burst: 15K
    queue_packets: 50
    queue_bytes: 64K
    jitter: 1ms
    distribution: normal
    jitter_reorders: true
    bursts: {enter: 1%, leave: 25%}
    reorder: 1%
    reorder_gap: 5
    reorder_delay: 20ms
    seed: 7
    "no -> pop1": {rate: 1Mbit, loss: 5%, loss_correlation: 50%}
hosts:
  h1: pop1
  h2: {pop: pop2}
saps:
  input: {pop: pop1, image: "web:dev", uplink: nat}
  output:
access:
  "fw:input": {rate: 10Mbit, delay: 5ms, in: {rate: 100Mbit}, out: {loss: 1%, corrupt: 2%}}
images:
  "sonatanfv/*": sonemu/vnf-base
fabric: openvswitch
"""


def read(text: str) -> Topology:
    findings = Findings()
    topology = topology_of(text.encode(), "t.yml", findings)
    assert topology is not None
    assert not findings.failed, list(findings)
    return topology


def faults(text: str) -> list[str]:
    findings = Findings()
    topology_of(text.encode(), "t.yml", findings)
    return [str(finding) for finding in findings]


def test_everything_a_topology_can_say(tmp_path: Path) -> None:
    path = tmp_path / "two-pops.yml"
    path.write_text(FULL)
    assert read_topology(path) == Topology(
        pops=(PoP("pop1", 2.0, 4 * 1024**3), PoP("pop2"), PoP("no", 0.5)),
        links=(
            PopLink("pop1", "pop2"),
            PopLink("pop2", "no", delay=0.01, rate=100_000_000, loss=0.01, mtu=9000, jitter=0.001),
            PopLink(
                "pop1",
                "no",
                rate=10_000_000,
                burst=15 * 1024,
                queue_packets=50,
                queue_bytes=64 * 1024,
                jitter=0.001,
                distribution="normal",
                jitter_reorders=True,
                bursts=Bursts(0.01, 0.25),
                reorder=0.01,
                reorder_gap=5,
                reorder_delay=0.02,
                seed=7,
                backward={"rate": 1_000_000, "loss": 0.05, "loss_correlation": 0.5},
            ),
        ),
        hosts=(Host("h1", "pop1"), Host("h2", "pop2")),
        saps=(SapSite("input", "pop1", "web:dev", "nat"), SapSite("output")),
        access=(
            AccessLink(
                "fw",
                "input",
                Access(
                    Impairment(delay=0.005, rate=10_000_000, loss=0.01, corrupt=0.02),
                    Impairment(delay=0.005, rate=100_000_000),
                ),
            ),
        ),
        images={"sonatanfv/*": "sonemu/vnf-base"},
        fabric="openvswitch",
        name="lab",
        origin=str(path),
    )


def test_a_list_of_names_is_enough_and_the_file_names_the_topology(tmp_path: Path) -> None:
    path = tmp_path / "two-pops.yml"
    path.write_text("pops: [pop1, pop2]\nlinks: [[pop1, pop2]]\n")
    topology = read_topology(path)
    assert (topology.name, [pop.name for pop in topology.pops]) == ("two-pops", ["pop1", "pop2"])
    assert not topology.links[0].shaped
    assert read("pops:\n  - name: pop1\n    cpu: 2\n  - pop2\n").pops == (PoP("pop1", 2.0), PoP("pop2"))


def test_all_faults_come_at_once_each_with_its_place() -> None:
    text = """\
popz: 1
pops: {pop1: {cpus: 2}, pop2: {cpu: lots}}
links:
  - [pop1, pop3]
  - [pop1, pop1]
  - {between: [pop1, pop2], delay: 10 parsecs}
  - [pop2, pop1]
  - {betwen: [pop1, pop2]}
hosts: {h1: popp1}
saps: {h1: pop1}
fabric: ovs
"""
    found = faults(text)
    expected = [
        "t.yml:1:1: error[topology_shape]: unknown key 'popz' in the topology (did you mean 'pops'?)",
        "t.yml:2:15: error[topology_value]: unknown key 'cpus' in PoP 'pop1' (did you mean 'cpu'?)",
        "t.yml:2:37: error[topology_value]: 'cpu' of PoP 'pop2' is 'lots', not a number of 0 or more",
        "t.yml:4:12: error[topology_link]: no PoP 'pop3' (did you mean 'pop2'?)",
        "t.yml:5:5: error[topology_link]: a link from PoP 'pop1' to itself",
        (
            "t.yml:6:36: error[topology_value]: 'delay': '10 parsecs' is not a time;"
            " write it like 50ms, 2s, 1min"
        ),
        "t.yml:7:5: error[topology_duplicate]: PoPs 'pop2' and 'pop1' are linked twice (first in line 6)",
        "t.yml:8:5: error[topology_link]: a PoP link has no 'between' (did you mean 'betwen'?)",
        "t.yml:8:6: error[topology_link]: unknown key 'betwen' in a PoP link (did you mean 'between'?)",
        "t.yml:9:13: error[topology_link]: no PoP 'popp1' (did you mean 'pop1'?)",
        "t.yml:10:8: error[topology_duplicate]: the name of SAP 'h1' is taken (first in line 9)",
        "t.yml:11:9: error[topology_value]: fabric 'ovs' is not known (one of auto, openvswitch)",
    ]
    assert found == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "is nothing, not a mapping"),
        ("links: []", "has no PoPs"),
        ("pops: 3", "not a mapping or a list"),
        ("pops: [a, a]", "named twice"),
        ("pops: {a: 1, a: 2}", "written twice"),
        ("pops: [a b]", "cannot be the name"),
        ("pops: [a, b]\nlinks: [[a, b, a]]", "3 ends, not two"),
        ("pops: [a, b]\nlinks: [a-b]", "write [pop1, pop2]"),
        ("pops: [a, b]\nlinks: [{between: [a, b], mtu: 12}]", "whole number from 68"),
        ("pops: [a, b]\nlinks: [{between: [a, b], rate: 0}]", "nothing would pass"),
        ("pops: [a, b]\nlinks: [{between: [a, b], loss: 120%}]", "more than 100 %"),
        ("pops: [a]\nhosts: {h: }", "has no PoP"),
        ("pops: [a, b]\nlinks: [{between: [a, b], 'a->c': {rate: 1Mbit}}]", "'a->c' is neither 'a->b' nor"),
        ("pops: [a, b]\nlinks: [{between: [a, b], 'a->b': {dely: 1ms}}]", "did you mean 'delay'"),
        ("pops: [a, b]\nlinks: [{between: [a, b], 'a->b': {}, 'b -> a': {}, 'b->a': {}}]", "said twice"),
        ("pops: [a, b]\nlinks: [{between: [a, b], burst: 10K}]", "burst: does nothing without a rate"),
        ("pops: [a, b]\nlinks: [{between: [a, b], loss: 1%, bursts: {enter: 1%, leave: 5%}}]", "exclude"),
        ("pops: [a, b]\nlinks: [{between: [a, b], distribution: flat}]", "'distribution': distribution 'fl"),
        ("pops: [a, b]\nlinks: [{between: [a, b], bursts: {enter: 1%}}]", "is not a Bursts"),
        ("pops: [a]\nimages: [x]", "not a mapping"),
        ("pops: [a]\naccess: {fw: {delay: 1ms}}", "'fw' names no interface (write endpoint and"),
        ("pops: [a]\naccess: {'fw:in': {rate: 0}}", "nothing would pass"),
        ("pops: [a]\naccess: {'fw:in': {in: {dely: 1ms}}}", "did you mean 'delay'"),
        ("pops: [a]\naccess: {'fw:in': 3}", "not a mapping"),
        ("pops: {a: {memory: 4 elephants}}", "not a size"),
    ],
)
def test_faults(text: str, named: str) -> None:
    assert any(named in fault for fault in faults(text)), faults(text)


def test_what_cannot_be_read_raises_with_its_findings(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="No such file"):
        read_topology(tmp_path / "none.yml")
    path = tmp_path / "t.yml"
    path.write_text("pops: [a]\nlinks: [[a, b]]\n")
    with pytest.raises(
        TopologyError, match=r"1 error\n.*t\.yml:2:13: error\[topology_link\]: no PoP 'b'"
    ) as caught:
        read_topology(path)
    assert len(caught.value.findings) == 1


def test_a_pop_link_in_python_is_written_as_in_a_file() -> None:
    link = PopLink(
        "p",
        "q",
        delay="10ms",
        rate="100Mbit",
        bursts={"enter": "1%", "leave": 0.5},
        backward={"rate": "1Mbit"},
    )
    assert (link.delay, link.rate, link.bursts) == (0.01, 100_000_000, Bursts(0.01, 0.5))
    there, back = link.towards("a->b"), link.towards("b->a")
    assert replace(there, rate=1_000_000) == back
    assert PopLink("p", "q", seed=7).shaped is False
    assert PopLink("p", "q", backward={"loss": "1%"}).shaped
    assert len({link, replace(link), PopLink("p", "q")}) == 2
    with pytest.raises(TopologyError, match=r"PoP link 'p-q': delay: '10 parsecs' is not a time"):
        PopLink("p", "q", delay="10 parsecs")
    with pytest.raises(TopologyError, match=r"a->b: lss: no such impairment \(did you mean 'loss'\?\)"):
        PopLink("p", "q", forward={"lss": 1})


def test_json_and_back() -> None:
    for topology in (Topology(), read(FULL)):
        assert from_json(as_json(topology)) == topology
    for text in ("", "[]", "{}", '{"pops": [{"nom": 1}]}'):
        with pytest.raises(TopologyError):
            from_json(text)


_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["a", "b", "1s", "x y", "10%"]),
    lambda v: (
        st.lists(v, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "between", "delay", "cpu", "memory", "mtu", "loss", "pop", "a", "a:b", "in"]
            ),
            v,
        )
    ),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("pops links hosts saps access images fabric name".split()), _value))
def test_no_topology_makes_a_traceback(data: dict[str, object]) -> None:
    import yaml

    findings = Findings()
    topology = topology_of(yaml.safe_dump({"pops": ["a", "b"], **data}).encode(), "t.yml", findings)
    if topology is not None and not findings.failed:
        assert from_json(as_json(topology)) == topology

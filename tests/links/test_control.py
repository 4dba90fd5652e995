"""What a relay is told: read back as written, refused when wrong, and never its end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sonemu.errors import SettingsError
from pytest_sonemu.relay.control import Control
from pytest_sonemu.relay.model import (
    Bursts,
    FlowSpec,
    Impairment,
    LinkSpec,
    derive_seed,
    flow_as_json,
    flow_from_json,
    link_as_json,
    link_from_json,
)

shares = st.floats(0, 1)
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
bursts = st.builds(Bursts, shares, st.floats(0.01, 1), shares, shares)
impairments = st.builds(
    Impairment,
    rate=st.none() | st.integers(1, 10**12),
    burst=st.integers(0, 10**6),
    queue_packets=st.none() | st.integers(1, 10**6),
    delay=st.floats(0, 100),
    jitter=st.floats(0, 100),
    distribution=st.sampled_from(["uniform", "normal", "pareto"]),
    jitter_reorders=st.booleans(),
    bursts=st.none() | bursts,
    duplicate=shares,
    reorder=shares,
    corrupt=shares,
    seed=st.integers(0, 2**64 - 1),
)
links = st.builds(LinkSpec, names, impairments, impairments)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | names, inner, max_size=4),
    max_leaves=20,
)


class Nothing:
    """An engine that only keeps what it was told."""

    kind = "none"

    def __init__(self) -> None:
        self.told: list[Any] = []

    def change(self, *told: Any) -> None:
        self.told.append(told)

    def counters(self) -> dict[str, Any]:
        return {}


def control() -> tuple[Control, Nothing]:
    engine = Nothing()
    return Control(engine, realtime=False), engine


@settings(deadline=None)
@given(links)
def test_links_are_read_as_written(link: LinkSpec) -> None:
    assert link_from_json(json.loads(json.dumps(link_as_json(link)))) == link


@settings(deadline=None)
@given(st.lists(st.tuples(names, st.sampled_from(["a->b", "b->a"])), max_size=5, unique=True))
def test_flows_are_read_as_written(hops: list[Any]) -> None:
    flow = FlowSpec("vl", "eth0", tuple(hops), "eth1")
    assert flow_from_json(json.loads(json.dumps(flow_as_json(flow)))) == flow


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 0},
        {"rate": 1.5},
        {"rate": True},
        {"delay": -1},
        {"delay": float("nan")},
        {"delay": "10ms"},
        {"loss": 1.01},
        {"loss": 0.1, "bursts": Bursts(0.1, 0.1)},
        {"loss_correlation": 1},
        {"distribution": "exponential"},
        {"distribution": []},
        {"seed": -1},
        {"seed": 2**64},
        {"queue_packets": 0},
        {"reorder_gap": 0},
    ],
)
def test_wrong_impairments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong)).split("_")[0]):
        Impairment(**wrong)


def test_a_change_reaches_the_engine() -> None:
    relay, engine = control()
    link = LinkSpec("l", Impairment(delay=0.01))
    flow = FlowSpec("vl", "x", (("l", "a->b"),), "y")
    request = {
        "op": "change",
        "links": [link_as_json(link)],
        "flows": [flow_as_json(flow)],
        "remove_links": ["m"],
    }
    assert relay.answer(json.dumps(request).encode()) == {"ok": {}}
    assert engine.told == [([link], [flow], ["m"], [])]


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_end_it(message: bytes) -> None:
    relay, engine = control()
    assert set(relay.answer(message)) == {"error"}
    assert not engine.told


@settings(deadline=None)
@given(json_values, st.sampled_from(["links", "flows", "remove_links", "remove_flows"]))
def test_no_json_ends_it(value: Any, key: str) -> None:
    relay, engine = control()
    answer = relay.answer(json.dumps({"op": "change", key: value}).encode())
    assert set(answer) in ({"ok"}, {"error"})
    assert bool(engine.told) == ("ok" in answer)


@settings(deadline=None)
@given(links, st.data())
def test_no_near_miss_ends_it(link: LinkSpec, data: st.DataObject) -> None:
    """One value of a right request replaced by anything."""
    request = link_as_json(link)
    path: Any = request
    key = data.draw(st.sampled_from(sorted(path)))
    if isinstance(path[key], dict) and path[key]:
        path = path[key]
        key = data.draw(st.sampled_from(sorted(path)))
    path[key] = data.draw(json_values)
    relay, _ = control()
    assert set(relay.answer(json.dumps({"op": "change", "links": [request]}).encode())) in ({"ok"}, {"error"})


def test_deep_nesting_is_an_error_like_others() -> None:
    relay, _ = control()
    assert "error" in relay.answer(b"[" * 100_000 + b"]" * 100_000)


def test_seeds_come_from_names() -> None:
    assert derive_seed(1, "link", "test") == derive_seed(1, "link", "test")
    assert (
        len({derive_seed(1, "a", "b"), derive_seed(1, "ab"), derive_seed(2, "a", "b"), derive_seed("a", "b")})
        == 4
    )

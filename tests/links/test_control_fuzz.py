"""Hostile requests: each is answered, a refused one changes nothing, the relay lives and frames go on."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_sonemu.errors import SettingsError
from pytest_sonemu.relay import board as boards
from pytest_sonemu.relay.board import MOST_FLOWS, MOST_LINKS
from pytest_sonemu.relay.control import LENGTH, LONGEST, Control
from pytest_sonemu.relay.core import CORE, CoreBoard
from pytest_sonemu.relay.engine import Engine
from pytest_sonemu.relay.model import LinkSpec, flow_as_json, link_as_json
from tests.links.lab import Lab, core_path, examples, train
from tests.links.test_control import impairments, json_values
from tests.links.test_core import udp

INTERFACES = {f"i{number}": number + 1 for number in range(6)}
DEEP_TEXT = "[" * 900 + "]" * 900
slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]

Anything = st.SearchStrategy[Any]
link_names = st.sampled_from("lmno")
directions = st.sampled_from(["a->b", "b->a"])
# As impairments of `model.py` may be at most, too: 1 bit/s with a burst of a TB, an hour of jitter.
extremes: Anything = st.fixed_dictionaries(
    {},
    optional={
        "rate": st.sampled_from([1, 9, 10**9 - 1, 10**12]),
        "burst": st.sampled_from([1, 2**40]),
        "queue_bytes": st.sampled_from([1, 2**40]),
        "delay": st.sampled_from([0, 1e-9, 5e-324, 3600, 3600.0]),
        "jitter": st.sampled_from([1e-9, 3600]),
        "distribution": st.sampled_from(["normal", "pareto"]),
        "loss": st.sampled_from([0, 5e-324, 1, 1.0]),
        "loss_correlation": st.sampled_from([0, 1 - 2**-53]),
        "duplicate": st.sampled_from([0, 1]),
        "reorder": st.sampled_from([0, 1]),
        "reorder_gap": st.sampled_from([1, 10_000]),
        "reorder_delay": st.sampled_from([0, 3600]),
        "corrupt": st.sampled_from([0, 1]),
        "seed": st.sampled_from([0, 2**64 - 1]),
    },
)
ordinary = impairments.map(lambda impairment: link_as_json(LinkSpec("l", impairment)).get("forward"))
right_links: Anything = st.fixed_dictionaries(
    {"name": link_names, "forward": extremes | ordinary}, optional={"backward": extremes}
)
right_flows: Anything = st.fixed_dictionaries(
    {
        "virtual_link": st.sampled_from("vw"),
        "ingress": st.sampled_from(sorted(INTERFACES)),
        "hops": st.lists(st.tuples(link_names, directions).map(list), max_size=4, unique_by=tuple),
        "egress": st.sampled_from(sorted(INTERFACES)),
    }
)
changes: Anything = st.fixed_dictionaries(
    {"op": st.just("change")},
    optional={
        "links": st.lists(right_links, max_size=4, unique_by=lambda link: link["name"]),
        "flows": st.lists(right_flows, max_size=4, unique_by=lambda flow: flow["ingress"]),
        "remove_links": st.lists(link_names, max_size=2),
        "remove_flows": st.lists(st.sampled_from(sorted(INTERFACES)), max_size=2),
    },
)
hostile_numbers = [float("nan"), float("inf"), 1e308, -1, -0.0, 0.5, 10**400, -(10**400), 2**63, 2**64]
hostile_texts = ["", "\0", "l\n", "i0", "\ud800", "x" * 300, "é" * 15, "../i0"]
# Made anew each time, as a later mutation may change them.
hostile_places = st.sampled_from(["{}", "[]", "[[]]", DEEP_TEXT]).map(json.loads)
hostile = st.sampled_from([*hostile_numbers, *hostile_texts, True, None]) | hostile_places | json_values


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A change with up to three of its values replaced, left out, repeated or joined by an unknown one."""
    request: Any = json.loads(json.dumps(draw(changes)))
    for _ in range(draw(st.integers(0, 3))):
        place = request
        while True:
            keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], (dict, list)) and place[key] and draw(st.integers(0, 3)):
                place = place[key]
                continue
            match draw(st.sampled_from(["replace", "leave out", "again", "unknown"])):
                case "replace":
                    place[key] = draw(hostile)
                case "leave out":
                    del place[key]
                case "again" if isinstance(place, list):
                    place.append(place[key])
                case _ if isinstance(place, dict):
                    place[draw(st.text(max_size=5) | st.just("rate"))] = draw(hostile)
            break
    return request


def as_bytes(request: Any) -> bytes:
    return json.dumps(request).encode()


def twice_named(request: dict[str, Any]) -> bytes:
    return as_bytes(request)[:-1] + b', "op": "change"}'


# Whole, cut short, with bytes in the middle, with a key twice, and mere bytes.
messages = (
    mutated().map(as_bytes)
    | st.builds(lambda request, share: as_bytes(request)[: int(300 * share)], mutated(), st.floats(0, 1))
    | st.builds(lambda it, junk: as_bytes(it).replace(b": ", junk, 1), changes, st.binary(max_size=5))
    | changes.map(twice_named)
    | st.binary(max_size=100)
)


@pytest.fixture(params=["core", "python"])
def board(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[CoreBoard | Engine]:
    """Without frames of a network; a board may have been changed by whatever came before."""
    if request.param == "core" and not CORE.exists():
        pytest.skip("the core was not built: make core")

    def index(name: str) -> int:
        if name not in INTERFACES:
            raise SettingsError(f"there is no interface '{name}'")
        return INTERFACES[name]

    monkeypatch.setattr(boards, "interface_index", index)
    board = CoreBoard(path=core_path()) if request.param == "core" else Engine()
    yield board
    board.close()


def state(board: CoreBoard | Engine) -> object:
    return (
        {name: spec for name, (spec, _) in board._links.items()},
        {name: (spec, index) for name, (spec, index, _) in board._flows.items()},
        json.dumps(board.counters()),
    )


@settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[*slow, HealthCheck.function_scoped_fixture],
)
@given(st.lists(messages, max_size=5))
def test_a_refused_request_changes_nothing(board: CoreBoard | Engine, requests: list[bytes]) -> None:
    control = Control(board, realtime=False)
    for message in requests:
        before = state(board)
        answer = control.answer(message)
        assert set(answer) in ({"ok"}, {"error"})
        assert len(json.dumps(answer)) < 100_000
        if "error" in answer:
            assert state(board) == before
            assert answer["error"]
        else:
            told = json.loads(message)
            assert {link["name"] for link in told.get("links", ())} <= board._links.keys()
            kept = {flow_as_json(spec)["ingress"] for spec, _, _ in board._flows.values()}
            assert {flow["ingress"] for flow in told.get("flows", ())} <= kept
        if isinstance(board, CoreBoard):
            for _, _, path in board._flows.values():
                board.feed(path, udp, 10**9)
            board.advance(10**9 + 10**7)
            board.collect()


def flow(egress: str, **more: Any) -> dict[str, Any]:
    return {"virtual_link": "v", "ingress": "i0", "egress": egress, **more}


FLOODED = {"flows": [flow("e", ingress=f"i{number}") for number in range(MOST_FLOWS + 1)]}
ROUND = {"links": [{"name": "l"}], "flows": [flow("i1", hops=2 * [["l", "a->b"]])]}
LONG = {
    "links": [{"name": f"l{number}"} for number in range(129)],
    "flows": [flow("i1", hops=[[f"l{number}", "a->b"] for number in range(129)])],
}


def forward(**impairment: Any) -> dict[str, Any]:
    return {"links": [{"name": "l", "forward": impairment}]}


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"links": [{"name": f"l{number}"} for number in range(10_000)]}, f"at most {MOST_LINKS} links"),
        (FLOODED, f"{MOST_FLOWS} flows"),
        ({"links": [{"name": "l"}, {"name": "l"}]}, "the link 'l' twice"),
        ({"flows": 2 * [flow("i1")]}, "the ingress 'i0' twice"),
        ({"flows": [flow("i1", hops=[["z", "a->b"]])]}, "'z'"),
        (ROUND, "twice in the same direction"),
        (LONG, "129 hops"),
        (forward(delay=10**400), "delay 1000"),
        (forward(rate=10**400), "rate 1000"),
        (forward(loss=float("nan")), "NaN"),
        ({"remove_links": ["x" * 2**20]}, "no link 'xxx"),
        ({"links": json.loads(DEEP_TEXT)}, "a link is a mapping"),
    ],
)
def test_what_is_too_much_is_refused(board: CoreBoard | Engine, request_: dict[str, Any], error: str) -> None:
    before = state(board)
    answer = Control(board, realtime=False).answer(as_bytes({"op": "change", **request_}))
    assert error in answer["error"]
    assert len(answer["error"]) <= 500
    assert state(board) == before


def asked(lab: Lab, message: bytes) -> dict[str, Any]:
    """What a connection of its own is answered."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(lab.folder / "relay"))
        connection.sendall(LENGTH.pack(len(message)) + message)
        with connection.makefile("rb") as stream:
            (length,) = LENGTH.unpack(stream.read(LENGTH.size))
            answer: dict[str, Any] = json.loads(stream.read(length))
    return answer


@pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")
@pytest.mark.parametrize("engine", ["core", "python"])
def test_a_relay_outlives_hostile_requests(engine: str) -> None:
    if engine == "core" and not CORE.exists():
        pytest.skip("the core was not built: make core")
    with Lab() as lab:
        a, b = lab.pair()
        pid = lab.start_relay("--engine", engine).hello().pid
        lab.join(a, b)

        @settings(max_examples=examples(80), deadline=None, suppress_health_check=slow)
        @given(messages)
        def relay_answers(message: bytes) -> None:
            before = {name: sorted(lab.client.counters()[name]) for name in ("links", "flows")}
            answer = asked(lab, message)
            assert set(answer) in ({"ok"}, {"error"})
            if "error" in answer:
                assert {name: sorted(lab.client.counters()[name]) for name in before} == before

        relay_answers()
        for length, body in (
            (0, b""),
            (LONGEST + 1, b"x"),
            (2**32 - 1, b""),
            (5, b"{"),
            (LONGEST, b" " * 2**20),
        ):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(lab.folder / "relay"))
                connection.sendall(struct.pack("!I", length) + body)
        assert "error" in asked(lab, b"[" * (2**20))
        assert lab.client.hello().pid == pid
        assert len(train(a, b, 20, 0.001)) == 20
        assert lab.log() == ""

"""What a link is under several changes, and from what it draws."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_sonemu.errors import SettingsError
from pytest_sonemu.handles.layers import Layer, combined, seed_of
from pytest_sonemu.handles.schedule import flap, merged, parse_steps
from pytest_sonemu.relay.model import Bursts, Impairment, derive_seed
from pytest_sonemu.topology.impairments import changed, parse_access, parse_impairment, require_effect

RUN, LINK = 7, "firewall/link-1"


def over(base: Impairment, *layers: Layer) -> Impairment:
    return combined(base, layers, RUN, LINK, "a->b")


def block(**values: Any) -> Layer:
    return Layer("test_x", changes=parse_impairment(values))


def steps(*given: tuple[float | str, dict[str, Any]]) -> list[Layer]:
    parsed = parse_steps(given)
    return [
        Layer("test_x", "both", changes, number, step.changes.get("seed") is not None)
        for number, (step, changes) in enumerate(zip(parsed, merged(parsed), strict=True))
    ]


def test_each_layer_changes_what_it_names_in_the_order_of_their_beginning() -> None:
    base = Impairment(delay=0.01, loss=0.005)
    both = over(base, block(delay="40ms"), block(delay="5ms", rate="1Mbit"))
    assert (both.delay, both.loss, both.rate) == (0.005, 0.005, 1_000_000)
    assert over(base, Layer("test_x", "b->a", {"delay": 1.0})) == base


def test_none_takes_away_what_was_there() -> None:
    bursts = Bursts(enter=0.1, leave=0.5)
    outer = block(rate="1Mbit", queue_packets=9, bursts=bursts, delay="5ms", jitter_reorders=True)
    inner = block(rate=None, queue_packets=None, bursts=None, jitter_reorders=None, delay=None)
    assert over(Impairment(), outer, inner) == Impairment(seed=over(Impairment(), outer).seed)


def test_loss_and_bursts_take_each_others_place() -> None:
    bursts = Bursts(enter=0.1, leave=0.5)
    inner = over(Impairment(), block(bursts=bursts), block(loss="2%"))
    assert (inner.loss, inner.bursts) == (0.02, None)
    inner = over(Impairment(), block(loss="2%", loss_correlation="50%"), block(bursts=bursts))
    assert (inner.loss, inner.loss_correlation, inner.bursts) == (0, 0, bursts)
    # What is left when the layer between them has ended can be as well.
    assert over(Impairment(), block(bursts=bursts), block(loss_correlation="50%")).bursts == bursts
    with pytest.raises(SettingsError, match="loss and bursts exclude each other"):
        block(loss="2%", bursts=bursts)


def test_a_flap_gives_back_what_was_there() -> None:
    down, up = (layer for layer in steps(*flap("300ms", "300ms")))
    for base in (Impairment(loss=0.005), Impairment(bursts=Bursts(enter=0.1, leave=0.5))):
        assert over(base, down).loss == 1
        after = over(base, up)
        assert (after.loss, after.bursts) == (base.loss, base.bursts)


def test_steps_keep_what_those_before_them_named() -> None:
    first, second, third = steps((0, {"rate": "1Mbit"}), (1, {"delay": "5ms"}), (2, {"rate": None}))
    assert over(Impairment(rate=99), first).rate == over(Impairment(rate=99), second).rate == 1_000_000
    assert over(Impairment(rate=99), third).rate == 99
    losses = steps((0, {"loss": "1%"}), (1, {"bursts": Bursts(0.1, 0.5)}), (2, {"loss": 0}))
    assert [over(Impairment(), layer).bursts is None for layer in losses] == [True, False, True]


def test_a_seed_that_was_given_stays_and_steps_draw_from_it() -> None:
    options = Impairment(loss=0.3, seed=5)
    assert over(options, Layer("test_x", anew=True)).seed == 5
    assert over(options, block(delay="1ms")).seed == 5
    own = block(loss="10%", seed=5)
    assert over(Impairment(), own, block(delay="1ms")).seed == 5
    seeds = [over(Impairment(), own, step).seed for step in steps((0, {"delay": 1}), (1, {"delay": 2}))]
    assert seeds == [derive_seed(5, 0), derive_seed(5, 1)]
    named = steps((0, {"loss": "1%", "seed": 5}), (1, {"delay": 1}), (2, {"seed": 6}))
    assert [over(Impairment(), step).seed for step in named] == [5, derive_seed(5, 1), 6]
    assert over(options, block(seed=None)).seed == seed_of(RUN, "test_x", LINK, "a->b")


def test_a_seed_that_was_not_given_is_of_link_and_test() -> None:
    drawn = Impairment(loss=0.3, seed=derive_seed(RUN, LINK, "a->b"))
    mine = seed_of(RUN, "test_x", LINK, "a->b")
    assert over(drawn, Layer("test_x", anew=True)).seed == mine
    assert over(Impairment(), block(loss="1%"), block(delay=1)).seed == mine
    assert over(drawn, Layer("fixture"), Layer("test_x", anew=True)).seed == mine
    assert over(drawn, Layer("fixture"), block(delay=1)).seed != mine


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"queue_packets": "1.5"}, "queue_packets: '1.5' is not a whole number"),
        ({"rate": 0}, "rate: 0: nothing would pass"),
        ({"rate": "1Mbit", "queue_packets": 0}, "queue_packets 0 is not"),
        ({"queue_packets": 1.5}, "queue_packets: 1.5 is not a whole number"),
        ({"distribution": "gauss"}, "there are uniform, normal and pareto"),
        ({"delay": "5000s"}, "delay 5000.0 is not a time between 0 and 3600 s"),
        ({"seed": -1}, "seed -1 is not"),
        ({"seed": 1.5}, "seed: 1.5 is not a whole number"),
        ({"seed": "five"}, "seed: 'five' is not a whole number"),
        ({"jitter_reorders": "no"}, "jitter_reorders: 'no' is neither true nor false"),
    ],
)
def test_what_cannot_be_is_said(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_impairment(values)


def test_words_are_read_as_they_are_meant() -> None:
    assert parse_impairment({"jitter_reorders": "false"}) == {"jitter_reorders": False}
    assert parse_impairment({"seed": "12"}) == {"seed": 12}
    assert parse_impairment({"seed": 0})["seed"] != 0  # a seed like any other, not none


def test_what_does_nothing_is_said() -> None:
    for values in ({"queue_packets": 9}, {"queue_bytes": "9k"}, {"burst": "9k"}):
        with pytest.raises(SettingsError, match="does nothing without a rate"):
            require_effect(values, [Impairment(delay=1.0)])
        require_effect(values, [changed(Impairment(rate=9), parse_impairment(values))])
    with pytest.raises(SettingsError, match="does nothing to bursts"):
        require_effect({"loss_correlation": 0.5}, [Impairment(bursts=Bursts(0.1, 0.5))])
    with pytest.raises(SettingsError, match="queue_packets: does nothing without a rate"):
        parse_access({"queue_packets": 9, "in": {"rate": "1Mbit"}})
    assert parse_access({"rate": "1Mbit", "in": {"rate": None}}).given.rate is None

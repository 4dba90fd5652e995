"""What a relay can carry, at what cost in CPU, and how fast it ends."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator

from benchmarks.traffic import Row, both, flood, goodput, spent
from pytest_sonemu.emulation import namespaces
from pytest_sonemu.errors import EmulationError
from pytest_sonemu.relay.client import RelayClient
from pytest_sonemu.relay.model import FlowSpec, LinkSpec
from tests.links.lab import Lab, Site

ROUNDS = 3
PROMISED = 10.0  # Gbit/s of TCP


def capacity(engine: str) -> Iterator[Row]:
    """One TCP stream, direct and relayed, turn by turn: the medians, and the relay's share of its round's
    direct link."""
    ticks = os.sysconf("SC_CLK_TCK")
    with Lab() as direct, Lab() as kernel, Lab() as process:
        ways: list[tuple[str, Lab, Site, Site]] = []
        for what, lab in (
            ("TCP, direct", direct),
            ("TCP, relayed, nothing impaired", kernel),
            ("TCP, relayed, each frame by the relay itself", process),
        ):
            a, b = lab.pair()
            if lab is direct:
                lab.join_directly(a, b)
            else:
                lab.start_relay("--engine", engine, shortcuts=lab is kernel)
                lab.join(a, b, LinkSpec("l"))
            ways.append((what, lab, a, b))
        figures: list[list[float]] = []
        cost: list[float] = []
        for _ in range(ROUNDS):
            figures.append([])
            for _, lab, a, b in ways:
                before = (spent(lab), _frames(lab, a)) if lab is process else (0, 0)
                figures[-1].append(goodput(a, b, "128K", 2) / 1e9)
                if lab is process:
                    cost.append((spent(lab) - before[0]) / ticks / max(_frames(lab, a) - before[1], 1))
        for number, (what, lab, _, _) in enumerate(ways):
            measured = f"{statistics.median(each[number] for each in figures):.1f} Gbit/s"
            good = None
            if lab is not direct:
                share = statistics.median(each[number] / each[0] for each in figures)
                measured += f", {share:.0%} of direct in the same round"
                good = statistics.median(each[number] for each in figures) >= PROMISED
            yield Row(what, f"{PROMISED:g} Gbit/s", measured, good)
        yield Row("CPU of the relay for a wire frame of TCP", "", f"{statistics.median(cost) * 1e6:.2f} µs")
        for name, links in (("unimpaired", ()), ("1 ms and 1 % loss", (both(delay=0.001, loss=0.01),))):
            lab, (_, _, a, b) = process, ways[-1]
            lab.join(a, b, *links)
            seen = flood(lab, a, b, 0, 64)
            each = seen["cpu"] / ticks / seen["packets"]
            measured = f"{seen['packets']:,.0f}/s, {each * 1e6:.1f} µs CPU each"
            yield Row(f"64 byte datagrams, {name}", "100,000/s", measured, seen["packets"] >= 100_000)


def _frames(lab: Lab, a: Site) -> int:
    return int(lab.client.counters()["flows"][a.name]["packets"])


def ending(engine: str) -> Iterator[Row]:
    """A relay that has 1,000 ends, 500 links, and stops or is killed."""
    for name, limit in (("told to stop", 0.2), ("kill -9", 0.5)):
        took = []
        for _ in range(ROUNDS):
            with Lab() as lab:
                client = lab.start_relay("--engine", engine)
                fill(lab)
                relay = lab.relay
                assert relay is not None

                def kill(pid: int = relay.pid) -> None:
                    os.kill(pid, signal.SIGKILL)

                end_it: Callable[[], None] = client.stop if name == "told to stop" else kill
                begun = time.monotonic()
                end_it()
                relay.wait(10)
                # Gone means too that its interfaces can go: nothing of it holds one.
                namespaces.run_inside(lab.fabric, ["ip", "link", "del", "x0"])
                took.append(time.monotonic() - begun)
                assert _gone(lab)
        worst = max(took)
        measured = f"{statistics.median(took):.3f} s, at most {worst:.3f} s"
        yield Row(f"500 links, relay {name}", f"{limit} s", measured, worst <= limit)


def fill(lab: Lab, links: int = 500) -> None:
    """Both ends of each link in the fabric: only how many the relay listens to matters."""
    names = [(f"x{number}", f"y{number}") for number in range(links)]
    batch = "".join(
        f"link add {x} type veth peer name {y}\nlink set {x} up\nlink set {y} up\n" for x, y in names
    )
    namespaces.run_inside(lab.fabric, ["ip", "-batch", "-"], batch)
    specs = [FlowSpec("v", one, (("l", "a->b"),), other) for x, y in names for one, other in ((x, y), (y, x))]
    lab.client.change([both(delay=0.001)], specs)


def _gone(lab: Lab) -> bool:
    try:
        RelayClient(lab.folder / "relay").close()
    except EmulationError:
        return True
    return False

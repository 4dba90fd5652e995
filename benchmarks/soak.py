"""A shaped, loaded bed for minutes: does a process of ours grow? `python -m benchmarks.soak [--minutes 30]`.

A line a minute: memory (RSS), descriptors and threads of the keeper, the relay and this process. At the end
what each has gained since the first minute, and 1 as exit status if that is more than the bounds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.links import RECEIVE, program
from pytest_sonemu import NetworkFunction, NetworkService, PoP, PopLink, Service, TestBed, Topology
from tests.links.lab import end

POPS = Topology((PoP("p1"), PoP("p2")), (PopLink("p1", "p2", rate=20_000_000, delay=0.01, loss=0.001),))
CHAIN = NetworkService.chain("in", NetworkFunction("vnf", image="sonemu/vnf-base"), "out")
# Caches fill and heaps settle in the first minute; after it, less than this may come. The journal of what was
# done, from which failing tests are told, grows up to its 20,000 entries: some MB.
MOST_KILOBYTES, MOST_DESCRIPTORS = 8192, 4
_MOST_MINUTES = 24 * 60

SEND_SLOWLY = """
import socket, sys, time
out = socket.socket(fileno=int(sys.argv[1]))
data = bytes(65536)
while True:
    try:
        out.sendall(data)
    except OSError:
        break
"""


@dataclass(frozen=True)
class Sample:
    """One process at one moment."""

    minute: float
    name: str
    pid: int
    kilobytes: int
    descriptors: int
    threads: int


def family(bed: TestBed) -> dict[int, str]:
    """The bed's processes by pid: this one, the keeper, and the keeper's children."""
    found = {os.getpid(): "handles", bed.keeper_pid: "keeper"}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == bed.keeper_pid:
                    words = (entry / "cmdline").read_text()
                    found[int(entry.name)] = "relay" if "relay.main" in words else words.split("\0")[0]
    return found


def measure(bed: TestBed, minute: float) -> list[Sample]:
    samples = []
    for pid, name in family(bed).items():
        with suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text()
            values = dict(line.split(":", 1) for line in status.splitlines())
            resident, threads = (int(values[name].split()[0]) for name in ("VmRSS", "Threads"))
            count = len(list(Path(f"/proc/{pid}/fd").iterdir()))
            samples.append(Sample(round(minute, 2), name, pid, resident, count, threads))
    return samples


def load(service: Service, stack: ExitStack) -> None:
    """One TCP stream that never ends over the shaped PoP link."""
    source, target = service.sap("in"), service.sap("out")
    listener, out = target.socket(), source.socket()
    listener.bind((str(target.ip()), 0))
    listener.listen(1)
    out.settimeout(10)
    out.connect((str(target.ip()), listener.getsockname()[1]))
    into, _ = listener.accept()
    for sock in (into, out):
        sock.settimeout(None)
    for process in (program(RECEIVE, into), program(SEND_SLOWLY, out)):
        stack.callback(end, process)
    for sock in (into, out, listener):
        sock.close()


def work(bed: TestBed, service: Service, number: int) -> None:
    """What a suite does all the time: impair, schedule, probe, start and stop; a view for each round."""
    # What a bed's own handles change is remembered until the bed ends; a view's, until the view does.
    view, pops = service.view(f"round {number}"), bed.view(f"round {number}")
    try:
        link = view.link("link-1")
        with link.impair(delay="2ms", loss="1%", duplicate="1%"), link.impair(jitter="1ms"):
            view.ping("in", "out", 3, timeout=0.5)
            link.stats()
        with pops.link("p1", "p2").schedule([(0, {"rate": "10Mbit"}), (0.1, {"rate": "20Mbit"})]) as schedule:
            schedule.wait(2)
        with view.vnf("vnf").interface("input").impair(rate="50Mbit"):
            view.connect("in", "out", tcp=4000)
    finally:
        view.close_view()
        pops.close_view()


def soak(minutes: float) -> Iterator[list[Sample]]:
    with ExitStack() as stack:
        bed = stack.enter_context(TestBed(POPS, seed=1))
        service = bed.start(CHAIN, saps={"in": {"pop": "p1"}, "out": {"pop": "p2"}})
        load(service, stack)
        begun, last, rounds = time.monotonic(), -1.0, 0
        while (minute := (time.monotonic() - begun) / 60) < minutes:
            work(bed, service, rounds)
            rounds += 1
            if minute - last >= 1 or last < 0:
                last = minute
                yield measure(bed, minute)
            time.sleep(0.2)
        yield measure(bed, minutes)
        print(f"{rounds} rounds of work; {bed.link('p1', 'p2').stats()!r}; notes: {list(bed.notes)}")


def growth(samples: Sequence[Sample]) -> list[tuple[str, int, int, int]]:
    """By process: kilobytes, descriptors and threads gained since the first minute."""
    gained = []
    for pid in dict.fromkeys(sample.pid for sample in samples):
        mine = [sample for sample in samples if sample.pid == pid]
        settled = [sample for sample in mine if sample.minute >= 1] or mine
        first, final = settled[0], settled[-1]
        kilobytes, descriptors = final.kilobytes - first.kilobytes, final.descriptors - first.descriptors
        gained.append((first.name, kilobytes, descriptors, final.threads - first.threads))
    return gained


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="a shaped, loaded bed for minutes")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--json", type=Path, help="write all samples to this file")
    options = parser.parse_args(arguments)
    if not 0 < options.minutes <= _MOST_MINUTES:
        parser.error(f"--minutes is above 0 and at most {_MOST_MINUTES}")
    samples: list[Sample] = []
    for now in soak(options.minutes):
        samples += now
        parts = [
            f"{each.name} {each.kilobytes / 1024:.1f} MB {each.descriptors} fds {each.threads} threads"
            for each in now
        ]
        print(f"{now[0].minute:6.1f} min  {'; '.join(parts)}", flush=True)
    gained = growth(samples)
    for name, kilobytes, descriptors, threads in gained:
        more = f"{kilobytes:+d} KB, {descriptors:+d} descriptors, {threads:+d} threads"
        print(f"{name}: {more} since the first minute")
    if options.json:
        options.json.write_text(json.dumps([asdict(sample) for sample in samples], indent=1) + "\n")
    return int(
        any(
            kilobytes > MOST_KILOBYTES or max(descriptors, threads) > MOST_DESCRIPTORS
            for _, kilobytes, descriptors, threads in gained
        )
    )


if __name__ == "__main__":
    sys.exit(main())

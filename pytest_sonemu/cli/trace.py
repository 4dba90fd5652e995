"""`sonemu trace`: the way that a conversation takes on a bed, hop by hop."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pytest_sonemu.handles.trace_results import Trace, TraceRun


@click.command(short_help="Follow a conversation through a service, hop by hop.")
@click.argument("bed")
@click.argument("source")
@click.argument("target")
@click.option("--tcp", type=click.IntRange(1, 65535), metavar="PORT", help="A TCP connection to this port.")
@click.option("--udp", type=click.IntRange(1, 65535), metavar="PORT", help="A UDP datagram to this port.")
@click.option("--icmp", is_flag=True, help="An echo; so it is without any of these.")
@click.option("--http", metavar="PATH", help="An HTTP request of this path or URL (with --tcp as its port).")
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="So many conversations.")
@click.option("--timeout", type=float, default=1.0, show_default=True, help="Seconds to wait for an answer.")
@click.option("--no-listen", is_flag=True, help="Where nobody listens, let nobody answer.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def trace(
    bed: str,
    source: str,
    target: str,
    tcp: int | None,
    udp: int | None,
    icmp: bool,
    http: str | None,
    count: int,
    timeout: float,
    no_listen: bool,
    as_json: bool,
) -> None:
    """Hold a real conversation from SOURCE to TARGET on BED, and show the connection points it crosses.

    `sonemu trace lab input server --tcp 80`; "instance/input" where several instances have one. Where
    nobody listens at the target, a listener of ours answers. Ends with 0 if every conversation arrived
    and was answered, else with 1.
    """
    from pytest_sonemu.cli.beds import attach, service_of

    kinds = [udp is not None, icmp, http is not None or tcp is not None]
    if sum(kinds) > 1:
        raise click.UsageError(
            "name one of --tcp, --udp, --icmp and --http; only --http takes --tcp too, as its port"
        )
    icmp = not any(kinds) or icmp
    with attach(bed) as attached:
        service, start = service_of(attached, source)
        end = target.removeprefix(f"{service.id}/")
        found = service.trace(
            start,
            end,
            tcp=tcp,
            udp=udp,
            icmp=icmp,
            http=http,
            count=count,
            listen=not no_listen,
            timeout=timeout,
        )
    if as_json:
        click.echo(json.dumps(_plain(found), indent=2))
    else:
        _show(found)
    sys.exit(1 if found.lost else 0)


def _show(found: Trace) -> None:
    from rich.table import Table

    from pytest_sonemu.cli import console

    out = console()
    if len(found.runs) > 1:
        table = Table("conversations", "way", box=None, pad_edge=False, header_style="bold")
        for way, number in found.ways.items():
            table.add_row(str(number), " -> ".join(way) or "nowhere")
        out.print(table)
        for text in dict.fromkeys(verdict(run, http=found.protocol == "http") for run in found.runs):
            click.echo(text)
        return
    run = found.runs[0]
    table = Table("", "at", "", "ms", "packet", box=None, pad_edge=False, header_style="bold")
    for row in rows(run):
        table.add_row(*row)
    if table.row_count:
        out.print(table)
    click.echo(verdict(run, http=found.protocol == "http"))


def rows(run: TraceRun) -> Iterator[tuple[str, str, str, str, str]]:
    """A row for each connection point: which way, where, in or out, ms since the first, the packet's ends.

    The ends are given where they are new: at the beginning, and where somebody has rewritten them.
    """
    there = [crossing for segment in run.segments for crossing in segment.there]
    back = [crossing for segment in reversed(run.segments) for crossing in segment.back]
    for way, crossings in (("there", there), ("back", back)):
        ends = ""
        for number, crossing in enumerate(crossings):
            since = f"{(crossing.time - there[0].time) * 1e3:.2f}" if there else ""
            shown = crossing.ends if crossing.ends != ends else ""
            ends = crossing.ends
            yield way if number == 0 else "", crossing.at, crossing.direction, since, shown


def verdict(run: TraceRun, *, http: bool) -> str:
    """What became of it, in a line."""
    arrived = run.reached and run.answered
    on_the_way = {"there": " on the way there", "back": " on the way back", None: ""}[run.lost_way]
    fate = run.reason if run.rejected_at else f"lost{on_the_way}: {run.reason}"
    notes = ["arrived and was answered" if arrived else fate]
    if run.terminated_at and len(run.segments) > 1:
        notes.append(f"ended and begun anew by {run.terminated_at}")
    if run.bypassed:
        notes.append(f"went round {', '.join(run.bypassed)}")
    if http and run.status is not None:
        notes.append(f"HTTP status {run.status}")
    if run.listener == "ours":
        notes.append("nobody listened: a listener of ours answered")
    return "; ".join(notes)


def _plain(found: Trace) -> dict[str, object]:
    return {
        "source": found.source,
        "target": found.target,
        "protocol": found.protocol,
        "port": found.port,
        "lost": found.lost,
        "runs": [
            {
                "reached": run.reached,
                "answered": run.answered,
                "reason": run.reason,
                "lost_at": run.lost_at,
                "lost_way": run.lost_way,
                "rejected_at": run.rejected_at,
                "terminated_at": run.terminated_at,
                "bypassed": list(run.bypassed),
                "status": run.status,
                "listener": run.listener,
                "hops": run.hops,
                "back_hops": run.back_hops,
                "crossings": [
                    {
                        "way": way,
                        "at": crossing.at,
                        "direction": crossing.direction,
                        "time": crossing.time,
                        "packet": crossing.ends,
                    }
                    for segment in run.segments
                    for way, crossings in (("there", segment.there), ("back", segment.back))
                    for crossing in crossings
                ],
            }
            for run in found.runs
        ],
    }

"""`sonemu status`: what runs on a bed."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pytest_sonemu.gatekeeper.model import Layout


@click.command(short_help="Show what runs on a bed: VNFs, PoPs, addresses, links.")
@click.argument("bed", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def status(bed: str | None, as_json: bool) -> None:
    """Show what runs on BED (or on the only bed that is up): VNFs, PoPs, addresses, links."""
    from pytest_sonemu.cli.beds import attach
    from pytest_sonemu.gatekeeper.on_bed import OnBed
    from pytest_sonemu.gatekeeper.published import published
    from pytest_sonemu.planning.uplinks import shown

    with attach(bed) as attached:
        url = published(attached.run_dir)
        layouts = {service.uuid: OnBed(service).describe() for service in attached.services}
        uplinks = {
            service.uuid: {one.id: shown(one.uplink) for one in service.plan.endpoints if one.uplink}
            for service in attached.services
        }
        notes = attached.notes
        pops = [pop.name for pop in attached.topology.pops]
        name = attached.name
    if as_json:
        instances = [
            {"uuid": uuid, **asdict(layout), "uplinks": uplinks.get(uuid, {})}
            for uuid, layout in layouts.items()
        ]
        known = {"bed": name, "gatekeeper": url, "pops": pops, "instances": instances, "notes": notes}
        click.echo(json.dumps(known, indent=2))
        return
    click.echo(f"bed {name} ({', '.join(pops)}){f': {url}' if url else ''}")
    for uuid, layout in layouts.items():
        _show(uuid, layout)
        for sap, way in uplinks.get(uuid, {}).items():
            click.echo(f"uplink of {sap}: {way}")
    if not layouts:
        click.echo("nothing runs")
    for note in notes:
        click.echo(f"note: {note}")


def _show(uuid: str, layout: Layout) -> None:
    from rich.table import Table

    from pytest_sonemu.cli import console

    out = console()
    out.print(f"\n{layout.name} ({uuid})", markup=False)
    table = Table("", "PoP", "state", "addresses", "container", box=None, pad_edge=False, header_style="bold")
    for endpoint in (*layout.vnfs, *layout.saps):
        addresses = [
            f"{interface.name} {', '.join(interface.addresses)}"
            for interface in endpoint.interfaces
            if interface.addresses
        ]
        container = endpoint.container
        table.add_row(
            endpoint.id,
            endpoint.pop,
            container.phase if container is not None else "SAP",
            "; ".join(addresses),
            container.name if container is not None else "",
        )
    out.print(table)
    links = Table("", "kind", "between", "packets", box=None, pad_edge=False, header_style="bold")
    for link in layout.links:
        packets = sum(counter.packets for counter in link.counters if counter.target != link.id)
        links.add_row(link.id, link.kind, ", ".join(link.endpoints), str(packets))
    if layout.links:
        out.print(links)

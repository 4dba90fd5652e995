"""`sonemu ps`: the test beds of this user that are up."""

from __future__ import annotations

import json

import click


@click.command(short_help="List the beds that are up, with their instances.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list, for programs.")
def ps(as_json: bool) -> None:
    """List the test beds that are up, with their instances."""
    from rich.table import Table

    from pytest_sonemu.cli import console
    from pytest_sonemu.emulation.client import beds

    found = beds()
    if as_json:
        entries = [
            {
                "name": bed.name,
                "keeper": bed.pid,
                "run_dir": str(bed.run_dir),
                "instances": list(bed.instances),
            }
            for bed in found
        ]
        click.echo(json.dumps(entries, indent=2))
        return
    if not found:
        click.echo("no test bed is up")
        return
    table = Table("bed", "keeper", "instances", box=None, pad_edge=False, header_style="bold")
    for bed in found:
        table.add_row(bed.name, str(bed.pid), ", ".join(bed.instances) or "none")
    console().print(table)

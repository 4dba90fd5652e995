"""`sonemu logs`: what a VNF has written."""

from __future__ import annotations

import click


@click.command(short_help="Print what a VNF has written.")
@click.argument("bed")
@click.argument("vnf")
def logs(bed: str, vnf: str) -> None:
    """Print what VNF ("fw", or "instance/fw") on the bed BED, and its entry script, have written so far."""
    from pytest_sonemu.cli.beds import attach, vnf_of

    with attach(bed) as attached:
        for line in vnf_of(attached, vnf).log_lines(since=0):
            click.echo(line.text)

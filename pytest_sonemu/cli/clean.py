"""`sonemu clean`: take away what killed keepers left, and only that."""

from __future__ import annotations

import sys

import click


@click.command(short_help="Remove what killed runs left, and only that.")
@click.argument("bed", required=False)
@click.option(
    "--all-namespaces",
    is_flag=True,
    help="Also beds whose keeper cannot be seen from here (other pid namespaces).",
)
def clean(bed: str | None, all_namespaces: bool) -> None:
    """Remove containers and run directories of test beds (or of BED) whose keeper is gone.

    A bed that is up is left alone, and so is everything without our labels.
    """
    from pytest_sonemu.emulation.docker_api import connect
    from pytest_sonemu.emulation.sweep import sweep

    client = connect()
    try:
        remnants = sweep(client, all_namespaces, bed=bed)
    finally:
        client.close()
    for remnant in remnants:
        what = f"{remnant.kind} {remnant.name} of bed {remnant.bed}"
        click.echo(f"removed {what}" if remnant.removed else f"left {what}: {remnant.why}")
    if not remnants:
        click.echo("nothing to clean")
    left = [remnant for remnant in remnants if not remnant.removed and not remnant.under_way]
    if any(remnant.verdict == "dead" for remnant in left):
        sys.exit(1)

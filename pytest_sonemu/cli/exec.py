"""`sonemu exec`: run a command in a VNF."""

from __future__ import annotations

import sys

import click


@click.command(context_settings={"ignore_unknown_options": True}, short_help="Run a command in a VNF.")
@click.argument("bed")
@click.argument("vnf")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec(bed: str, vnf: str, command: tuple[str, ...]) -> None:  # noqa: A001 - the verb's name
    """Run COMMAND in VNF ("fw", or "instance/fw") on the bed BED: `sonemu exec BED fw -- ip route`.

    Its exit status is this one's.
    """
    from pytest_sonemu.cli.beds import attach, vnf_of

    with attach(bed) as attached:
        result = vnf_of(attached, vnf).exec(list(command), timeout=None)
    click.echo(result.stdout, nl=False)
    click.echo(result.stderr, nl=False, err=True)
    sys.exit(result.exit_status)

"""`sonemu exec`: run a command at an endpoint: in a VNF, in the network of a SAP or host."""

from __future__ import annotations

import sys

import click


@click.command(
    context_settings={"ignore_unknown_options": True}, short_help="Run a command in a VNF, SAP or host."
)
@click.argument("bed")
@click.argument("endpoint")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--tool", is_flag=True, help="A program of this machine, in a VNF's network; its image needs none."
)
def exec(bed: str, endpoint: str, command: tuple[str, ...], tool: bool) -> None:  # noqa: A001 - the verb's name
    """Run COMMAND at ENDPOINT of the bed BED: `sonemu exec BED fw -- ip route`.

    ENDPOINT is a VNF ("fw", a unit "fw.vdu01"), a SAP ("input") or a host; "instance/fw" where several
    instances have one. In a VNF it is a command of the image, elsewhere a program of this machine in
    the endpoint's network. Standard input is passed on; at a terminal the command gets one too, so
    `sonemu exec BED fw -- sh` is a shell. Its exit status is this one's. There is no shell in between.
    """
    from pytest_sonemu.cli.beds import attach, endpoint_of
    from pytest_sonemu.cli.streams import run_in_container, run_in_namespace

    with attach(bed) as attached:
        found = endpoint_of(attached, endpoint)
        client, instance = found._core.bed.client, found._core.plan.instance
        if found._plan.container is not None and not tool:

            def send(pid: int, number: int) -> None:
                client.signal_inside(instance, found.id, pid, number)

            container = client.describe_vnf(instance, found.id).id
            status = run_in_container(found._core.bed.docker, container, command, found.id, send)
        else:
            status = run_in_namespace(client, instance, found.id, command)
    sys.exit(status)

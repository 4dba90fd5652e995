"""`sonemu schema`: JSON Schemas for editors."""

from __future__ import annotations

import click


@click.command(short_help="Print the JSON Schema of topologies or of sonemu.yml.")
@click.argument("which", type=click.Choice(["topology", "options"]))
def schema(which: str) -> None:
    """Print the JSON Schema of topology files, or of sonemu.yml (options).

    An editor with a YAML language server checks and completes a file that begins with
    "# yaml-language-server: $schema=topology.schema.json".
    """
    from pytest_sonemu.planning.option_schema import OPTIONS
    from pytest_sonemu.topology.schema import TOPOLOGY

    document = TOPOLOGY if which == "topology" else OPTIONS
    click.echo(document.json_text(), nl=False)

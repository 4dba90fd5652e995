"""`sonemu graph`: a bed as a drawing: PoPs, services, VNFs, links, addresses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pytest_sonemu.planning.plan import DeploymentPlan
    from pytest_sonemu.topology.model import Topology

# Where there is no terminal to ask.
_WIDTH = 120


@click.command(short_help="Draw a bed: in the terminal, as SVG, for Graphviz.")
@click.argument("bed", required=False)
@click.option(
    "--svg", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a picture."
)
@click.option("--text", "form", flag_value="text", default=True, help="Boxes and lines (the default).")
@click.option(
    "--dot", "form", flag_value="dot", help="For Graphviz: `sonemu graph lab --dot | dot -Tpng -o lab.png`."
)
@click.option("--mermaid", "form", flag_value="mermaid", help="For pages that draw Mermaid.")
def graph(bed: str | None, svg: Path | None, form: str) -> None:
    """Draw what runs on BED (or on the only bed that is up): PoPs, services, VNFs, links, addresses."""
    from pytest_sonemu.cli.beds import attach
    from pytest_sonemu.errors import SettingsError

    if svg is not None and form != "text":
        raise click.UsageError(f"--svg and --{form} exclude each other: call it twice")
    with attach(bed) as attached:
        plans = [state.plan for state in attached._core.client.describe().instances]
        topology, name = attached.topology, attached.name
    if svg is not None:
        from pytest_sonemu.reports.picture import pictures

        try:
            svg.write_text(pictures(plans, topology))
        except OSError as error:
            raise SettingsError(f"cannot write {svg}: {error.strerror}") from error
        return
    click.echo(_rendered(name, topology, plans, form), nl=False)


def _rendered(bed: str, topology: Topology, plans: list[DeploymentPlan], form: str) -> str:
    from pytest_sonemu.planning import draw, sketch

    if form == "dot":
        return draw.as_dot(plans, topology)
    if form == "mermaid":
        return draw.as_mermaid(*plans)
    return sketch.sketch(bed, topology, plans, shutil.get_terminal_size((_WIDTH, 0)).columns)

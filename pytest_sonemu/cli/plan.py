"""`sonemu plan`: what would be deployed where, without root and Docker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pytest_sonemu.planning.plan import DeploymentPlan
    from pytest_sonemu.topology.model import Topology


@click.command(short_help="Show what a start would deploy, before anything is done.")
@click.argument("package", metavar="PKG", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--topology",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The topology file (default: that of sonemu.yml, else one PoP).",
)
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json", "mermaid"]),
    default="text",
    show_default=True,
)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="As --sonemu-set of pytest.")
def plan(package: Path, topology: Path | None, output: str, settings: tuple[str, ...]) -> None:
    """Show what starting PKG would deploy: VNFs, images, PoPs, addresses, links and paths.

    Images are chosen by their references alone: whether they are there is seen at the start.
    """
    from pytest_sonemu.handles.foreseeing import foresee
    from pytest_sonemu.handles.starting import wanted
    from pytest_sonemu.planning.options import set_option

    wish = wanted(package, {})
    wish = replace(wish, options=set_option(wish.options, *settings))
    chosen = _topology(package, topology)
    made = foresee(wish, chosen)
    click.echo(_rendered(made, output), nl=False)


def _topology(package: Path, given: Path | None) -> Topology:
    """The topology that was named, else that of `sonemu.yml`, else one PoP."""
    from pytest_sonemu.descriptors.read import read_package
    from pytest_sonemu.topology.model import Topology
    from pytest_sonemu.topology.read import read_topology

    if given is not None:
        return read_topology(given)
    own = read_package(package).sonemu.get("topology")
    if isinstance(own, str):
        return read_topology((package if package.is_dir() else package.parent) / own)
    return Topology()


def _rendered(plan: DeploymentPlan, output: str) -> str:
    from pytest_sonemu.planning import describe, draw

    if output == "json":
        return draw.as_json(plan)
    return draw.as_mermaid(plan) if output == "mermaid" else describe.describe(plan)

"""`sonemu push`: onboard a package."""

from __future__ import annotations

from pathlib import Path

import click

LOUD_FROM = 8 * 1024**2


@click.command(short_help="Onboard a package on a bed.")
@click.argument("bed")
@click.argument("package", type=click.Path(path_type=Path))
def push(bed: str, package: Path) -> None:
    """Onboard PACKAGE, a .son or .tgo file or a project folder, on the bed BED that `sonemu up` serves.

    The answer is its service_uuid.
    """
    from pytest_sonemu.cli.beds import gatekeeper_of
    from pytest_sonemu.gatekeeper.client import GatekeeperClient

    def onboard(gatekeeper: GatekeeperClient) -> str:
        if package.is_dir() or not package.exists() or package.stat().st_size < LOUD_FROM:
            return gatekeeper.onboard(package).service_uuid
        size = package.stat().st_size
        with click.progressbar(length=size, label=f"sending {package.name}", file=None) as bar:
            return gatekeeper.onboard(package, lambda sent, _size: bar.update(sent - bar.pos)).service_uuid

    with gatekeeper_of(bed) as gatekeeper:
        uuid = onboard(gatekeeper)
        for finding in gatekeeper.package(uuid).findings:
            click.echo(f"{finding.place}: {finding.level}[{finding.rule}]: {finding.message}", err=True)
    click.echo(uuid)

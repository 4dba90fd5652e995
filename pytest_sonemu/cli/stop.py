"""`sonemu stop`: stop an instance."""

from __future__ import annotations

import click


@click.command(short_help="Stop an instance.")
@click.argument("bed")
@click.argument("instance", required=False)
def stop(bed: str, instance: str | None) -> None:
    """Stop INSTANCE (its name or uuid; without it the one started last) on the bed BED."""
    from pytest_sonemu.cli.beds import attach, newest

    with attach(bed) as attached:
        service = newest(attached) if instance is None else attached.service(instance)
        name, uuid = service.id, service.uuid
        service.stop()
    click.echo(f"stopped {name} ({uuid})")

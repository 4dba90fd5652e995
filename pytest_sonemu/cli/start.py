"""`sonemu start`: start a service that was onboarded."""

from __future__ import annotations

from uuid import UUID

import click


@click.command(short_help="Start a service that was onboarded.")
@click.argument("bed")
@click.argument("service", required=False)
def start(bed: str, service: str | None) -> None:
    """Start SERVICE (its uuid or name; without it what was onboarded last) on the bed BED.

    The answer is the instance's uuid, when the service is ready.
    """
    from pytest_sonemu.cli.beds import gatekeeper_of
    from pytest_sonemu.errors import GatekeeperError

    with gatekeeper_of(bed) as gatekeeper:
        try:
            if service is None or _is_uuid(service):
                instance = gatekeeper.start(service)
            else:
                instance = gatekeeper.start(service_name=service)
        except GatekeeperError as error:
            if error.status != 404:
                raise
            known = [gatekeeper.package(uuid) for uuid in gatekeeper.packages()]
            listing = ", ".join(f"{one.service} ({one.service_uuid})" for one in known) or "none"
            wanted = f"no service '{service}'" if service else "no service"
            raise GatekeeperError(f"{wanted} is onboarded; there are: {listing}", 404) from error
    click.echo(instance)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True

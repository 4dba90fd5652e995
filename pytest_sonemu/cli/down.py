"""`sonemu down`: end a bed."""

from __future__ import annotations

import time

import click

from pytest_sonemu.errors import EmulationError, GatekeeperError, NotFoundError

END_SECONDS = 30.0


@click.command(short_help="End a bed and everything on it.")
@click.argument("bed")
def down(bed: str) -> None:
    """End the test bed BED and everything on it."""
    from pytest_sonemu.emulation.client import BedClient
    from pytest_sonemu.gatekeeper.client import GatekeeperClient
    from pytest_sonemu.gatekeeper.published import published

    client = BedClient.attach(bed)
    url = published(client.run_dir)
    try:
        if url is None:
            client.end()
        else:
            with GatekeeperClient(url) as gatekeeper:
                gatekeeper.exit()
    except GatekeeperError:
        client.end()  # what served it is gone, or is not allowed to end it
    finally:
        client.close()
    _wait_until_gone(bed)
    click.echo(f"bed {bed} has ended")


def _wait_until_gone(bed: str) -> None:
    from pytest_sonemu.emulation.client import BedClient

    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        try:
            BedClient.attach(bed).close()
        except NotFoundError:
            return
        time.sleep(0.05)
    raise EmulationError(f"bed {bed} was told to end and is still there after {END_SECONDS:g} s")

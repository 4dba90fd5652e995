"""A gatekeeper on a bed, served as long as a `with` block: for `sonemu up` and for fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from pytest_sonemu.gatekeeper.app import make_app
from pytest_sonemu.gatekeeper.on_bed import BedEmulation
from pytest_sonemu.gatekeeper.server import GatekeeperServer
from pytest_sonemu.gatekeeper.state import Gatekeeper
from pytest_sonemu.handles.testbed import TestBed


@dataclass(frozen=True)
class ServedGatekeeper:
    """A gatekeeper and where it answers."""

    gatekeeper: Gatekeeper
    url: str


@contextmanager
def serve(
    bed: TestBed,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    allow_build: bool = False,
    options: Mapping[str, object] | None = None,
    shut_down: Callable[[], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Iterator[ServedGatekeeper]:
    """Serve a gatekeeper on `bed`; at the end of the block it no longer answers.

    `options` count for every start that does not say otherwise. `shut_down` is what `PUT /emulator/exit`
    calls; without it that is forbidden. What was started runs on: that is the bed's business (a view of
    a bed stops what was started through it). Raises SettingsError for an address that cannot be had.
    """
    gatekeeper = Gatekeeper.of(
        BedEmulation(bed, allow_build=allow_build, options=options or {}), shut_down=shut_down, say=say
    )
    try:
        with GatekeeperServer(make_app(gatekeeper), host, port) as server:
            yield ServedGatekeeper(gatekeeper, server.url)
    finally:
        gatekeeper.close()

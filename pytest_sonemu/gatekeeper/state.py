"""What the routes of one application share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from flask import current_app

from pytest_sonemu.gatekeeper.catalogue import Catalogue
from pytest_sonemu.gatekeeper.emulation import Emulation
from pytest_sonemu.gatekeeper.lifecycle import Lifecycle

EXTENSION = "sonemu"
log = logging.getLogger("pytest_sonemu.gatekeeper")


@dataclass(frozen=True)
class Gatekeeper:
    """The gatekeeper of one bed. `shut_down` is called for `PUT /emulator/exit`; None: that is forbidden.

    `say` gets a line for each change that a person may want to see.
    """

    emulation: Emulation
    catalogue: Catalogue
    lifecycle: Lifecycle
    say: Callable[[str], None]
    shut_down: Callable[[], None] | None = None

    @classmethod
    def of(
        cls,
        emulation: Emulation,
        *,
        shut_down: Callable[[], None] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> Gatekeeper:
        tell = say if say is not None else log.info
        catalogue = Catalogue()
        return cls(emulation, catalogue, Lifecycle(emulation, catalogue, tell), tell, shut_down)

    def close(self) -> None:
        """Begin nothing more, and forget the packages. What runs is the bed's business."""
        self.lifecycle.close()
        self.catalogue.close()


def here() -> Gatekeeper:
    """The gatekeeper of the application that answers this request."""
    gatekeeper = current_app.extensions[EXTENSION]
    assert isinstance(gatekeeper, Gatekeeper)
    return gatekeeper

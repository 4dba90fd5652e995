"""Docker's events: a VNF that somebody else starts is wired, one that ends is known at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pytest_sonemu.emulation.containers import docker_step
from pytest_sonemu.errors import EmulationError

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_sonemu.emulation.bed import Bed


def follow_events(api: APIClient, bed: Bed) -> None:
    """Follow the events of this bed's containers on a thread of its own, until Docker or the bed ends."""
    threading.Thread(target=_follow, args=(api, bed), name="events", daemon=True).start()


def _follow(api: APIClient, bed: Bed) -> None:
    try:
        with docker_step("follow Docker's events"):
            wanted = {
                "type": "container",
                "label": f"sonemu.testbed={bed.name}",
                "event": ["start", "die", "oom", "pause", "unpause"],
            }
            for event in api.events(filters=wanted, decode=True):
                attributes = event["Actor"]["Attributes"]
                instance, endpoint = (attributes.get(f"sonemu.{key}", "") for key in ("instance", "endpoint"))
                bed.follow(instance, endpoint, str(event.get("Action", "")))
    except EmulationError as error:
        bed.note(f"{error}; VNFs that others restart are not wired any more")

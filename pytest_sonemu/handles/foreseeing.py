"""What a start would deploy, without root and Docker and before anything is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_sonemu.planning.plan import Allocations, DeploymentPlan, ImageChoice

if TYPE_CHECKING:
    from pytest_sonemu.handles.starting import Wanted
    from pytest_sonemu.topology.model import Topology

# What an image runs is written in the image.
_UNSEEN = ("(the image's own command)",)


def foresee(wish: Wanted, topology: Topology) -> DeploymentPlan:
    """The plan on a fresh bed. Images are chosen by their references alone. Raises PlanningError."""
    from pytest_sonemu.planning.make import make_plan

    return make_plan(
        wish.service,
        topology,
        bed="plan",
        options=wish.options,
        images=_images(wish, topology),
        allocations=Allocations(),
    )


def _images(wish: Wanted, topology: Topology) -> dict[str, ImageChoice]:
    """Which image each unit would get if none were there yet. One that cannot be had is named as such."""
    from pytest_sonemu.emulation.image_choice import Refused, choose

    chosen: dict[str, ImageChoice] = {}
    for request in wish.image_requests(topology):
        try:
            want = choose(request, lambda _reference: False)
        except Refused as problem:
            reference, reason, stand_in = request.reference or "none", f"cannot be had: {problem}", False
        else:
            reason = "to be pulled" if want.reason == "pulled" else want.reason
            reference, stand_in = want.target, want.stand_in
        chosen[request.key] = ImageChoice(reference, "", reason, command=_UNSEEN, stand_in=stand_in)
    return chosen

"""How a virtual link is realised: one decision, taken here.

`direct` where nothing on its way holds frames back; `relayed` where a PoP link on the way is shaped
or the virtual link itself is impaired; `switched` where the topology asks for OpenFlow. This version
carries out direct links only; the plan of the two others is refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence

from pytest_sonemu.errors import CapabilityError
from pytest_sonemu.planning.plan import Realisation
from pytest_sonemu.topology.model import PopLink, Topology


def realisation_of(topology: Topology, way: Sequence[PopLink], *, impaired: bool = False) -> Realisation:
    """The realisation of a virtual link that crosses the PoP links in `way`."""
    if topology.fabric == "openvswitch":
        return "switched"
    if impaired or any(link.shaped for link in way):
        return "relayed"
    return "direct"


def require_realisable(realisation: Realisation, link_id: str, way: Sequence[PopLink]) -> None:
    """Raises CapabilityError for what this version does not carry out."""
    if realisation == "switched":
        raise CapabilityError(
            f"virtual link '{link_id}': OpenFlow (fabric: openvswitch) is not realised by this version yet;"
            " leave out 'fabric' from the topology"
        )
    if realisation == "relayed":
        shaped = next((link for link in way if link.shaped), None)
        on = f"it crosses PoP link '{shaped.name}' with {_shape(shaped)}" if shaped else "it is impaired"
        raise CapabilityError(
            f"virtual link '{link_id}': {on}; links with delay, rate or loss are not realised by this"
            " version yet; leave these out of the topology, or place both ends in one PoP"
        )


def _shape(link: PopLink) -> str:
    parts = [
        f"delay {link.delay * 1000:g} ms" if link.delay else "",
        f"rate {link.rate / 1e6:g} Mbit/s" if link.rate else "",
        f"loss {link.loss * 100:g} %" if link.loss else "",
    ]
    return ", ".join(part for part in parts if part)

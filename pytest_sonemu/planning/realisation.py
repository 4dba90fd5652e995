"""How a virtual link is realised: one decision, taken here.

`direct` where nothing on its way holds frames back; `relayed` where a PoP link on the way is shaped
or the options impair the virtual link itself; `switched` where the topology asks for OpenFlow, which this
version refuses by name.
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


def require_realisable(realisation: Realisation, link_id: str) -> None:
    """Raises CapabilityError for what this version does not carry out."""
    if realisation == "switched":
        raise CapabilityError(
            f"virtual link '{link_id}': OpenFlow (fabric: openvswitch) is not realised by this version yet;"
            " leave out 'fabric' from the topology"
        )

"""What a running service consists of: its plan, and handles of its VNFs, SAPs and links by their ids."""

from __future__ import annotations

from typing import TypeVar

from pytest_sonemu.errors import NotFoundError
from pytest_sonemu.handles.core import InstanceCore
from pytest_sonemu.handles.endpoint import Endpoint
from pytest_sonemu.handles.link import Link
from pytest_sonemu.handles.sap import Host, Sap
from pytest_sonemu.handles.targets import Place, find_spot
from pytest_sonemu.handles.undo import UndoStack
from pytest_sonemu.handles.vnf import Vnf, VnfOfUnits
from pytest_sonemu.planning.plan import DeploymentPlan, EndpointPlan

_Handle = TypeVar("_Handle")


class ServiceParts:
    """A view of an instance, as far as it finds what is in it."""

    def __init__(self, core: InstanceCore, undo: UndoStack | None = None) -> None:
        self._core = core
        self._undo = undo if undo is not None else UndoStack(core.bed.journal)

    def __repr__(self) -> str:
        return f"<Service {self.id} on {self._core.bed.client.name}: {', '.join(self.vnfs) or 'no VNF'}>"

    @property
    def id(self) -> str:
        """The instance's name on its bed ("firewall-1")."""
        return self._core.plan.instance

    @property
    def uuid(self) -> str:
        """What the gatekeeper's clients call the instance."""
        return self._core.plan.uuid

    @property
    def name(self) -> str:
        """The service's name, as its descriptor says."""
        return self._core.plan.service

    @property
    def plan(self) -> DeploymentPlan:
        """What was laid out: containers, interfaces, addresses, routes, links."""
        return self._core.plan

    @property
    def dirty(self) -> str | None:
        """Why it is no longer as it was started; None: it is."""
        return self._core.dirty

    @property
    def vnfs(self) -> dict[str, Vnf]:
        """The VNFs by their vnf_id, in the descriptor's order."""
        found: dict[str, Vnf] = {}
        for plan in self._of_kind("vnf"):
            if plan.unit_of is None:
                found[plan.id] = Vnf(self._core, plan, self._undo)
            elif plan.unit_of not in found:
                found[plan.unit_of] = VnfOfUnits(self._core, plan.unit_of, self._undo)
        return found

    @property
    def saps(self) -> dict[str, Sap]:
        """The SAPs by their id."""
        return {plan.id: Sap(self._core, plan, self._undo) for plan in self._of_kind("sap")}

    @property
    def links(self) -> dict[str, Link]:
        """The virtual links by their id."""
        return {plan.id: Link(self._core, plan, self._undo) for plan in self.plan.links}

    def vnf(self, vnf_id: str) -> Vnf:
        """A VNF, a unit of one that has several ("fw.vdu01"), or a container of `TestBed.container`.

        Raises NotFoundError, nearest first.
        """
        vnfs = self.vnfs
        more = [plan for plan in self._of_kind("vnf") if plan.unit_of]
        more += [plan for plan in self._of_kind("host") if plan.container is not None]
        units = {plan.id: Vnf(self._core, plan, self._undo) for plan in more}
        return _pick("VNF", vnf_id, {**units, **vnfs})

    def sap(self, sap_id: str) -> Sap:
        """A SAP. Raises NotFoundError."""
        return _pick("SAP", sap_id, self.saps)

    def link(self, link_id: str) -> Link:
        """A virtual link, by any of the ids that the descriptor has for it. Raises NotFoundError."""
        found = self.plan.link(link_id)
        return _pick("virtual link", found.id if found is not None else link_id, self.links)

    def endpoint(self, place: Place) -> Endpoint:
        """The VNF, SAP or host that a text ("fw", "fw:input"), a handle or an address means."""
        plan = find_spot(self.plan, place).endpoint
        if plan.kind == "host" and plan.container is not None:
            return Vnf(self._core, plan, self._undo)
        kinds = {"vnf": Vnf, "sap": Sap, "host": Host}
        return kinds[plan.kind](self._core, plan, self._undo)

    def _of_kind(self, kind: str) -> list[EndpointPlan]:
        return [endpoint for endpoint in self.plan.endpoints if endpoint.kind == kind]


def _pick(kind: str, wanted: str, existing: dict[str, _Handle]) -> _Handle:
    if wanted not in existing:
        raise NotFoundError(kind, wanted, existing)
    return existing[wanted]

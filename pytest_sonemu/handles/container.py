"""What all handles of an endpoint with a container share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sonemu.emulation.protocol import ContainerState
from pytest_sonemu.errors import EmulationError
from pytest_sonemu.handles.arguments import port_number
from pytest_sonemu.handles.endpoint import Endpoint
from pytest_sonemu.handles.journal import Journal
from pytest_sonemu.planning.plan import ContainerPlan

if TYPE_CHECKING:
    from docker.models.containers import Container


class ContainerEndpoint(Endpoint):
    """An endpoint that is a container: its state, its image, Docker's own object of it."""

    @property
    def state(self) -> ContainerState:
        """What its container is doing now: phase, pid, how many lives it had, exit status."""
        return self._core.bed.client.describe_vnf(self._core.plan.instance, self.id)

    def _awake(self, *, paused: bool = False) -> ContainerState:
        """Its state, if it runs, or is `paused`. Raises EmulationError that says what to do."""
        state = self.state
        if state.phase == "paused" and not paused:
            raise EmulationError(f"VNF '{self.id}' is paused; unpause() it first")
        if state.phase == "exited":
            raise EmulationError(f"VNF '{self.id}' does not run, it has exited; start() it first")
        return state

    @property
    def container(self) -> Container:
        """The docker package's own object, for all that is not offered here."""
        return self._core.bed.docker_objects().containers.get(self.state.id)

    @property
    def image(self) -> str:
        """The image it runs, as it was named."""
        return self._container_plan.image.reference

    @property
    def stands_in(self) -> bool:
        """Whether that image stands in for the one that the descriptor names."""
        return self._container_plan.image.stand_in

    @property
    def share(self) -> Path:
        """The folder that the VNF sees as /mnt/share, where images put results; it ends with the instance."""
        return self._core.bed.client.run_dir / "instances" / self._core.plan.instance / self.id / "share"

    def url(self, port: int, path: str = "/", scheme: str = "http") -> str:
        """Its address as a URL for `http` and `session()`, whose names resolve: `"http://web:8080/"`.

        Raises ProbeError for a port that cannot be.
        """
        port_number(port)
        default = {"http": 80, "https": 443}.get(scheme)
        return f"{scheme}://{self.id}{'' if port == default else f':{port}'}/{path.removeprefix('/')}"

    @property
    def _container_plan(self) -> ContainerPlan:
        # Looked up anew: an update replaces it.
        plan = self._core.plan.endpoint(self.id)
        if plan is None or plan.container is None:
            raise EmulationError(f"{self.id} has no container")
        return plan.container

    @property
    def _journal(self) -> Journal:
        return self._core.bed.journal

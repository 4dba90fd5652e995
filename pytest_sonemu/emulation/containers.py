"""The containers of one bed, through Docker's API: created held, started, stopped, renamed away, removed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_sonemu.emulation.gate import GATE_IN_CONTAINER, HOLD_IN_CONTAINER, SHARE_IN_CONTAINER, Gate
from pytest_sonemu.emulation.processes import start_time
from pytest_sonemu.errors import EmulationError, MachineError
from pytest_sonemu.planning.plan import ContainerPlan

if TYPE_CHECKING:
    from docker import APIClient

CPU_PERIOD = 100_000  # µs; the kernel's longest, 1 s, stalls a VNF for that long


@dataclass(frozen=True, slots=True)
class Life:
    """One run of a container: its first process and when that started."""

    pid: int
    start_time: int


class Containers:
    """Docker as the keeper uses it. Every call has the client's time limit; errors name the container."""

    def __init__(self, api: APIClient, labels: Mapping[str, str], hold: str) -> None:
        self.api, self.labels, self.hold = api, dict(labels), hold

    def create(self, plan: ContainerPlan, gate: Gate, endpoint: str, instance: str) -> str:
        """Create a container that will stand in the hold; returns its id."""
        from docker.types import Mount

        mounts = [
            Mount(HOLD_IN_CONTAINER, self.hold, type="bind", read_only=True),
            Mount(GATE_IN_CONTAINER, str(gate.folder), type="bind", read_only=True),
            Mount("/etc/hosts", str(gate.hosts_file), type="bind"),
            *(
                Mount(mount.target, mount.source, type="bind", read_only=mount.read_only)
                for mount in plan.mounts
            ),
        ]
        if SHARE_IN_CONTAINER not in {mount.target for mount in plan.mounts}:
            mounts.append(Mount(SHARE_IN_CONTAINER, str(gate.share), type="bind"))
        limits: dict[str, Any] = {}
        if plan.cpu is not None:
            limits |= {"cpu_period": CPU_PERIOD, "cpu_quota": round(plan.cpu * CPU_PERIOD)}
        if cpu_ids := available_cpus(plan.cpu_ids):
            limits["cpuset_cpus"] = ",".join(map(str, cpu_ids))
        if plan.memory is not None:
            limits["mem_limit"] = plan.memory
        if plan.no_new_privileges:
            limits["security_opt"] = ["no-new-privileges"]
        with docker_step(f"create container {plan.name}"):
            created = self.api.create_container(
                image=plan.image.id,
                name=plan.name,
                hostname=plan.hostname,
                entrypoint=gate.argv(plan.argv),
                command=[],
                environment=[f"{name}={value}" for name, value in plan.environment],
                # A shell without input or terminal ends at once; one with open input stays.
                stdin_open=True,
                tty=False,
                # Not network_mode="none": libnetwork stays out altogether, and a start takes half the time.
                network_disabled=True,
                # Docker's own runs in the hold too, and calls the container unhealthy there.
                healthcheck={"Test": ["NONE"]},
                labels={**self.labels, "sonemu.instance": instance, "sonemu.endpoint": endpoint},
                host_config=self.api.create_host_config(
                    mounts=mounts, cap_add=["NET_ADMIN", *plan.cap_add], **limits
                ),
            )
        return str(created["Id"])

    def start(self, container: str, name: str) -> Life:
        """Start a container; it stands in the hold when this returns."""
        with docker_step(f"start container {name}"):
            self.api.start(container)
        life = self.life(container)
        if life is None:
            if self._runs_elsewhere(container):
                raise MachineError(
                    f"container {name} runs, but its process cannot be seen from here: Docker is on another"
                    " kernel or in another pid namespace; in a container, start it with --pid=host"
                )
            raise EmulationError(f"container {name} ended in the hold: {self.last_words(container)}")
        return life

    def _runs_elsewhere(self, container: str) -> bool:
        """Whether Docker still calls a container running that has no process we know of."""
        with docker_step(f"inspect container {container[:12]}"):
            return bool(self.api.inspect_container(container)["State"]["Running"])

    def life(self, container: str) -> Life | None:
        """The container's present life, or None if it is not running."""
        with docker_step(f"inspect container {container[:12]}"):
            state = self.api.inspect_container(container)["State"]
        pid = int(state["Pid"])
        started = start_time(pid) if pid else None
        return Life(pid, started) if started is not None else None

    def is_paused(self, container: str) -> bool:
        """Whether it is paused now, by whomever."""
        with docker_step(f"inspect container {container[:12]}"):
            return bool(self.api.inspect_container(container)["State"]["Paused"])

    def wait_until_ended(self, container: str, timeout: int = 10) -> None:
        """Wait until Docker itself knows that the container has ended (a start before that does nothing)."""
        with docker_step(f"wait for the end of {container[:12]}"):
            self.api.wait(container, timeout=timeout)

    def exit_of(self, container: str) -> tuple[int, bool]:
        """Exit status of the last life, and whether the kernel ended it for want of memory."""
        with docker_step(f"inspect container {container[:12]}"):
            state = self.api.inspect_container(container)["State"]
        return int(state["ExitCode"]), bool(state["OOMKilled"])

    def last_words(self, container: str, lines: int = 5) -> str:
        """The last lines of a container's output, for an error message."""
        with docker_step(f"read the log of {container[:12]}"):
            output: bytes = self.api.logs(container, tail=lines)
        return output.decode(errors="replace").strip() or "no output"

    def pause(self, container: str) -> None:
        with docker_step(f"pause container {container[:12]}"):
            self.api.pause(container)

    def unpause(self, container: str) -> None:
        with docker_step(f"unpause container {container[:12]}"):
            self.api.unpause(container)

    def rename(self, container: str, name: str) -> None:
        with docker_step(f"rename container {container[:12]} to {name}"):
            self.api.rename(container, name)

    def remove(self, container: str) -> None:
        """Remove a container, running or not; one that is gone already is fine."""
        from docker.errors import APIError

        try:
            with docker_step(f"remove container {container[:12]}"):
                self.api.remove_container(container, force=True, v=True)
        except EmulationError as error:
            cause = error.__cause__
            # 409: somebody else's removal is on its way.
            if not (isinstance(cause, APIError) and cause.status_code in (404, 409)):
                raise


def available_cpus(wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Those of the CPU ids that this machine has (Docker refuses a start that names others)."""
    return tuple(cpu for cpu in wanted if cpu in os.sched_getaffinity(0))


@contextmanager
def docker_step(step: str) -> Iterator[None]:
    """Turn Docker's errors inside the block into an EmulationError that names the step."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except (DockerException, RequestException) as error:
        told = getattr(error, "explanation", None) or error
        raise EmulationError(f"cannot {step}: {told}") from error

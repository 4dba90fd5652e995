"""Taking away what killed keepers left: containers by their labels, run directories by their keepers.

Only what carries our labels is ever looked at, and only what is surely dead is removed (ruling 12).
Judging is pure; what is on this machine comes in as `Here`.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pytest_sonemu.emulation import processes
from pytest_sonemu.emulation.places import RUN_ROOT, SOCKET_NAME

if TYPE_CHECKING:
    from docker import APIClient

BED = "sonemu.testbed"
RUN = "sonemu.run"
UID = "sonemu.uid"
KEEPER_PID = "sonemu.keeper.pid"
KEEPER_START = "sonemu.keeper.start"
BOOT = "sonemu.boot"
MACHINE = "sonemu.machine"
PIDNS = "sonemu.pidns"

Verdict = Literal["alive", "dead", "unknown"]
THREADS = 4
BETWEEN_TRIES = 0.2
MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


@dataclass(frozen=True, slots=True)
class Here:
    """Who judges: machine, boot and pid namespace, as labels carry them."""

    machine: str
    boot: str
    pidns: str

    @classmethod
    def read(cls) -> Here:
        machine = next((path.read_text().strip() for path in MACHINE_IDS if path.is_file()), "")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return cls(machine, boot, str(Path("/proc/self/ns/pid").readlink()))


@dataclass(frozen=True, slots=True)
class Remnant:
    """Something of a bed that was found: removed, or, with `why`, still there.

    `under_way`: somebody's removal of it goes on, and nothing more can be done.
    """

    kind: Literal["container", "run directory"]
    name: str
    bed: str
    verdict: Verdict
    removed: bool
    why: str = ""
    under_way: bool = False


def labels(
    bed: str, run: str, uid: int, keeper_pid: int | None = None, here: Here | None = None
) -> dict[str, str]:
    """The labels of everything of a bed; the keeper is this process unless another is named."""
    pid = os.getpid() if keeper_pid is None else keeper_pid
    place = here or Here.read()
    return {
        BED: bed,
        RUN: run,
        UID: str(uid),
        KEEPER_PID: str(pid),
        KEEPER_START: str(processes.start_time(pid) or 0),
        BOOT: place.boot,
        MACHINE: place.machine,
        PIDNS: place.pidns,
    }


def judge(
    found: Mapping[str, str], here: Here, alive: Callable[[int, int], bool] = processes.alive
) -> Verdict:
    """Whether the bed of these labels still has its keeper. `alive(pid, start time)` asks the kernel."""
    if found.get(BOOT) != here.boot:
        # The same machine after a reboot; on another one (or an unnamed one) nothing can be said.
        rebooted = bool(here.machine) and found.get(MACHINE) == here.machine and bool(found.get(BOOT))
        return "dead" if rebooted else "unknown"
    if found.get(PIDNS) != here.pidns:
        return "unknown"
    try:
        pid, started = int(found[KEEPER_PID]), int(found[KEEPER_START])
    except (KeyError, ValueError):
        return "unknown"
    return "alive" if alive(pid, started) else "dead"


def sweep(
    api: APIClient,
    all_namespaces: bool = False,
    *,
    bed: str | None = None,
    here: Here | None = None,
    run_root: Path = RUN_ROOT,
    uid: int | None = None,
) -> list[Remnant]:
    """Remove what dead keepers left of this user's beds (root: of everybody's); beds that live stay.

    With `all_namespaces` also what cannot be judged from here, as beds of other pid namespaces.
    `bed` narrows it to one bed. Returns what was removed, and what had to be left, with the reason.
    """
    place, user = here or Here.read(), os.getuid() if uid is None else uid
    wanted = BED if bed is None else f"{BED}={bed}"
    remnants = _sweep_containers(api, place, user, all_namespaces, wanted)
    return remnants + _sweep_run_directories(run_root, user, bed)


def _sweep_containers(
    api: APIClient, here: Here, user: int, all_namespaces: bool, wanted: str
) -> list[Remnant]:
    from pytest_sonemu.emulation.docker_api import calling

    with calling("list the containers of test beds"):
        found = api.containers(all=True, filters={"label": [wanted]})
    jobs: list[tuple[Any, Verdict]] = []
    for container in found:
        tags = container.get("Labels") or {}
        if user in {0, int(tags.get(UID) or -1)}:
            verdict = judge(tags, here)
            if verdict != "alive":
                jobs.append((container, verdict))
    with ThreadPoolExecutor(THREADS, thread_name_prefix="sonemu-sweep") as pool:
        return list(pool.map(lambda job: _remove(api, job[0], job[1], all_namespaces), jobs))


def _remove(api: APIClient, container: Any, verdict: Verdict, all_namespaces: bool) -> Remnant:
    from docker.errors import APIError

    name = str((container.get("Names") or [container["Id"][:12]])[0]).lstrip("/")
    bed = str(container["Labels"][BED])
    if verdict == "unknown" and not all_namespaces:
        why = "its keeper cannot be seen from here; `sonemu clean --all-namespaces` removes it"
        return Remnant("container", name, bed, verdict, removed=False, why=why)
    try:
        api.remove_container(container["Id"], force=True, v=True)
    except APIError as error:
        if error.status_code == 409:
            why = "its removal is under way in Docker"
            return Remnant("container", name, bed, verdict, removed=False, why=why, under_way=True)
        if error.status_code != 404:
            return Remnant("container", name, bed, verdict, removed=False, why=str(error.explanation))
    return Remnant("container", name, bed, verdict, removed=True)


def _sweep_run_directories(root: Path, user: int, bed: str | None) -> list[Remnant]:
    users = [root / str(user)] if user else sorted(root.iterdir()) if root.is_dir() else []
    found = [folder for owner in users if owner.is_dir() for folder in sorted(owner.iterdir())]
    wanted = [folder for folder in found if folder.is_dir() and bed in {None, folder.name}]
    return [_remove_folder(folder) for folder in wanted if _deserted(folder)]


def _deserted(folder: Path) -> bool:
    """Whether no keeper listens there. One that starts has no socket yet, or refuses for a moment."""
    if not _refuses(folder):
        return False
    time.sleep(BETWEEN_TRIES)
    return _refuses(folder)


def _refuses(folder: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(folder / SOCKET_NAME))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def _remove_folder(folder: Path) -> Remnant:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        return Remnant("run directory", str(folder), folder.name, "dead", removed=False, why=str(error))
    return Remnant("run directory", str(folder), folder.name, "dead", removed=True)

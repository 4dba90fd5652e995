"""What a container of the plan runs, with which environment and limits."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from pytest_sonemu.descriptors.model import NetworkFunction, Unit
from pytest_sonemu.errors import PlanningError
from pytest_sonemu.planning.names import hostname
from pytest_sonemu.planning.options import VnfOptions
from pytest_sonemu.planning.plan import ContainerPlan, ImageChoice

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"})
_ENTRY_SCRIPTS = ("VIM_EMU_CMD", "SON_EMU_CMD")
# Options of a VNF that are its container's under the same name.
_KEPT = ("mounts", "cpu", "memory", "cap_add", "grace", "no_new_privileges")


def plan_container(
    name: str,
    function: NetworkFunction,
    unit: Unit,
    image: ImageChoice,
    options: VnfOptions,
) -> ContainerPlan:
    """The container of a VNF of one unit. Raises PlanningError for an image with nothing to run."""
    resources = unit.resources
    environment = {"VNF_NAME": function.id, **unit.environment, **options.env}
    environment.update({name: secret.reveal() for name, secret in options.secrets.items()})
    seen = {**_image_environment(image), **environment}
    entry_script = _first(seen, _ENTRY_SCRIPTS)
    command = options.command if options.command is not None else unit.command
    return ContainerPlan(
        name=name,
        image=image,
        argv=_argv(function.id, image, command, entry_script is not None),
        hostname=hostname(function.id),
        environment=tuple(environment.items()),
        secrets=tuple(options.secrets),
        mounts=options.mounts,
        cpu=options.cpu if options.cpu is not None else resources.cpu,
        cpu_ids=resources.cpu_ids,
        memory=options.memory if options.memory is not None else resources.memory,
        cap_add=options.cap_add,
        entry_script=entry_script,
        stop_script=_first(seen, [f"{name}_STOP" for name in _ENTRY_SCRIPTS]),
        grace=options.grace,
        no_new_privileges=options.no_new_privileges,
    )


def other_container(
    vnf_id: str, now: ContainerPlan, image: ImageChoice | None, options: VnfOptions
) -> ContainerPlan:
    """The container that takes the place of `now`: of another image (None: of the same), and with what
    `options` were given. Raises PlanningError for an image with nothing to run.
    """
    chosen = image if image is not None else now.image
    given = options.given
    environment = {**dict(now.environment), **options.env}
    environment.update({name: secret.reveal() for name, secret in options.secrets.items()})
    seen = {**_image_environment(chosen), **environment}
    entry_script = _first(seen, _ENTRY_SCRIPTS)
    command = options.command if "command" in given else _own_command(vnf_id, now)
    changed = {name: getattr(options, name) for name in _KEPT if name in given}
    return replace(
        now,
        image=chosen,
        argv=_argv(vnf_id, chosen, command, entry_script is not None),
        environment=tuple(environment.items()),
        secrets=tuple(dict.fromkeys((*now.secrets, *options.secrets))),
        entry_script=entry_script,
        stop_script=_first(seen, [f"{name}_STOP" for name in _ENTRY_SCRIPTS]),
        **changed,
    )


def _own_command(vnf_id: str, plan: ContainerPlan) -> tuple[str, ...] | None:
    """The command that a container was given instead of its image's; None: it has its image's."""
    if plan.argv is None:
        return None
    usual = (*plan.image.entrypoint, *plan.image.command)
    return None if plan.argv == usual else plan.argv[len(plan.image.entrypoint) :]


def _argv(
    vnf_id: str, image: ImageChoice, command: Sequence[str] | None, has_entry_script: bool
) -> tuple[str, ...] | None:
    """What runs as pid 1: beside an entry script the image's own command only if it is a shell."""
    if command is not None:
        return (*image.entrypoint, *command)
    own = (*image.entrypoint, *image.command)
    if has_entry_script and not is_shell(own):
        return None
    if not own:
        raise PlanningError(
            f"VNF '{vnf_id}': image '{image.reference}' has neither an entry point nor a command,"
            f" so nothing would run; set one: vnfs: {{{vnf_id}: {{command: …}}}}"
        )
    return own


def is_shell(argv: Sequence[str]) -> bool:
    """Whether a command is a shell that waits for input: `/bin/bash`, `sh -i`, `sh -c /bin/bash`."""
    if not argv or PurePosixPath(argv[0]).name not in _SHELLS:
        return False
    rest = list(argv[1:])
    if PurePosixPath(argv[0]).name == "busybox":
        return is_shell(rest)
    if len(rest) == 2 and rest[0] == "-c":
        try:
            words = shlex.split(rest[1])
        except ValueError:
            return False
        return is_shell(words[1:] if words[:1] == ["exec"] else words)
    return all(word.startswith("-") and (word.startswith("--") or "c" not in word) for word in rest)


def _image_environment(image: ImageChoice) -> dict[str, str]:
    return {name: value for name, _, value in (entry.partition("=") for entry in image.environment)}


def _first(environment: dict[str, str], names: Sequence[str]) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)

"""The checks of `sonemu doctor`: Docker, rights, programs, what was built. Each looks, none changes anything.

A probe container is started to see whether its process is really one of this machine; it is removed.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sonemu.cli.check import Check, find_program, succeeds
from pytest_sonemu.errors import EmulationError, MachineError

if TYPE_CHECKING:
    from pytest_sonemu.emulation.docker_api import DockerClient

# Program -> (what it is for, Debian's package); each is asked for by the part that needs it (ruling 30).
OPTIONAL = {
    "nft": ("comparing rule sets after a test", "nftables"),
    "slirp4netns": ("SAPs with `uplink: nat`", "slirp4netns"),
    "mmdebstrap": ("building the base image", "mmdebstrap"),
}
# What topologies have words for, and planning refuses so far.
UNUSED = {"Open vSwitch": "fabric: openvswitch"}


def all_checks() -> list[Check]:
    """Every check, in the order in which one rests on another."""
    from pytest_sonemu.cli.kernel_checks import kernel_checks

    checks = [check_system()]
    if not checks[0].failed:
        checks += [*docker_checks(), check_rights(), check_iproute2(), check_hold(), *kernel_checks()]
        checks += [check_cgroups(), *check_programs()]
    return checks


def check_system() -> Check:
    """Linux, and nothing else: containers must be processes of this kernel."""
    what = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    if sys.platform != "linux":
        return Check(
            "system", "missing", what, "run tests on Linux; reading, checking and planning work here"
        )
    return Check("system", "ok", what)


def docker_checks() -> Iterator[Check]:
    """Docker, its kind, the base image, and a probe container."""
    from pytest_sonemu.emulation.docker_api import connect, refuse_unsupported

    try:
        client = connect()
    except MachineError as error:
        said, _, mend = str(error).rpartition("; ")
        yield Check("docker", "missing", said or str(error), mend if said else "")
        return
    try:
        try:
            yield Check("docker", "ok", f"{refuse_unsupported(client)} at {client.docker_host}")
        except MachineError as error:
            yield Check("docker", "missing", str(error))
            return
        base = check_base_image(client)
        yield base
        if base.state == "ok":
            yield check_containers(client)
    finally:
        client.close()


def check_base_image(client: DockerClient) -> Check:
    """`sonemu/vnf-base`, built from the recipe of this version."""
    from pytest_sonemu.emulation.base_image import REPOSITORY, read_recipe
    from pytest_sonemu.emulation.docker_api import inspect_image

    mend = f"{sys.executable} -m pytest_sonemu.emulation.base_image"
    image = inspect_image(client, REPOSITORY)
    if image is None:
        return Check("base image", "missing", f"{REPOSITORY} is not built", mend)
    try:
        current = inspect_image(client, read_recipe().reference)
    except MachineError:
        current = image  # brought here from a machine that can build it
    if current is None:
        return Check(
            "base image", "ok", f"{REPOSITORY} is of an older recipe and is rebuilt when needed", mend
        )
    return Check("base image", "ok", REPOSITORY)


def check_containers(client: DockerClient) -> Check:
    """Whether a container's process is one that we see, with a network namespace of its own (ruling 23)."""
    from pytest_sonemu.emulation.docker_api import calling, sees_process
    from pytest_sonemu.emulation.sweep import labels

    caps = " ".join(f"--cap-add={name}" for name in ("SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE"))
    mend = f"in a CI container: --pid=host --network=host {caps}"
    container = ""
    try:
        with calling("start a probe container"):
            container = str(
                client.create_container(
                    "sonemu/vnf-base",
                    ["cat"],
                    stdin_open=True,
                    network_disabled=True,
                    labels=labels("doctor", "doctor", os.getuid()),
                )["Id"]
            )
            client.start(container)
            pid = int(client.inspect_container(container)["State"]["Pid"])
        if not sees_process(pid, container):
            return Check("containers", "missing", f"process {pid} of a container is not seen here", mend)
        if os.geteuid() == 0:
            theirs, ours = Path(f"/proc/{pid}/ns/net").readlink(), Path("/proc/self/ns/net").readlink()
            if theirs == ours:
                return Check("containers", "missing", "a container has no network namespace of its own", mend)
        return Check("containers", "ok", "their processes and namespaces are seen")
    except (EmulationError, MachineError) as error:
        return Check("containers", "missing", str(error))
    finally:
        if container:
            client.remove_container(container, force=True)


def check_rights() -> Check:
    """Root for the keeper: our own, by the installed copy, or by sudo without a password."""
    from pytest_sonemu.cli.keeper_copy import LAUNCHER, installed_version, version

    if os.geteuid() == 0:
        return Check("rights", "ok", "root")
    sudo = shutil.which("sudo")
    if sudo is None:
        return Check("rights", "missing", "not root, and there is no sudo", "apt-get install sudo, as root")
    if LAUNCHER.exists() and succeeds([sudo, "-n", "-l", str(LAUNCHER)]):
        there = installed_version()
        if there != version():
            return Check("rights", "missing", f"{LAUNCHER} is of version {there}, this is {version()}",
                         f"sudo {_own_command()} doctor --install-keeper")  # fmt: skip
        return Check("rights", "ok", f"{LAUNCHER} by sudo")
    if succeeds([sudo, "-n", "true"]):
        return Check("rights", "ok", "sudo without a password")
    return Check("rights", "missing", "sudo asks for a password",
                 f"sudo -v, or once: sudo {_own_command()} doctor --install-keeper")  # fmt: skip


def check_iproute2() -> Check:
    lacking = [name for name in ("ip", "tc", "bridge") if find_program(name) is None]
    if lacking:
        return Check("iproute2", "missing", f"no {', '.join(lacking)}", "sudo apt-get install iproute2")
    return Check("iproute2", "ok", "ip, tc, bridge")


def check_hold() -> Check:
    from pytest_sonemu.emulation.hold_program import hold_path

    try:
        return Check("hold", "ok", str(hold_path()))
    except MachineError as error:
        said, _, mend = str(error).partition("; ")
        return Check("hold", "missing", said, mend)


def check_cgroups() -> Check:
    version = 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1
    return Check("control groups", "ok", f"version {version}")


def check_programs() -> Iterator[Check]:
    """Programs that single parts want; a missing one fails nothing but that part."""
    for name, (purpose, package) in OPTIONAL.items():
        yield _program(name, purpose, package, find_program(name))
    for name, key in UNUSED.items():
        yield Check(name, "ok", f"not used by this version, which refuses `{key}`", needed=False)


def _program(name: str, purpose: str, package: str, path: str | None) -> Check:
    if path is None:
        return Check(
            name, "missing", f"wanted for {purpose} only", f"sudo apt-get install {package}", needed=False
        )
    return Check(name, "ok", path, needed=False)


def _own_command() -> str:
    beside = Path(sys.executable).with_name("sonemu")
    return str(beside) if beside.exists() else "sonemu"

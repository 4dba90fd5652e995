"""Start a bed's keeper: directly as root, else by `sudo -n`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from pytest_sonemu.errors import EmulationError, MachineError

# A root-owned copy, which one sudoers line can name safely; made by `sonemu doctor --install-keeper`.
INSTALLED_KEEPER = Path("/usr/local/libexec/sonemu-keeper")
START_SECONDS = 60.0


def keeper_argv(bed: str, uid: int) -> list[str]:
    """The command that starts a keeper for a user. Raises MachineError where we may not."""
    if os.geteuid() == 0:
        return [*_keeper_program(), bed, str(uid)]
    sudo = shutil.which("sudo")
    if sudo is None:
        raise MachineError(
            "a test bed needs root for its keeper, and there is no `sudo`;"
            " install it (`apt-get install sudo`) or run as root"
        )
    program = [str(INSTALLED_KEEPER)] if INSTALLED_KEEPER.exists() else _keeper_program()
    return [sudo, "-n", "--", *program, bed, str(uid)]


def start_keeper(bed: str, uid: int) -> None:
    """Start a keeper and return when it listens.

    Raises MachineError if sudo asks for a password, EmulationError with the keeper's own word else.
    """
    try:
        started = subprocess.run(
            keeper_argv(bed, uid),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EmulationError(f"the keeper of bed '{bed}' did not start within {START_SECONDS:g} s") from error
    if started.returncode == 0:
        return
    said = started.stderr.strip() or f"exit status {started.returncode}"
    if said.startswith("sudo:"):
        raise MachineError(
            f"a test bed needs root for its keeper, and sudo refuses it without a password ({said});"
            " run `sudo -v` first, or see `sonemu doctor` for the one sudoers line that is enough"
        )
    raise EmulationError(f"the keeper of bed '{bed}' did not start: {said}")


def _keeper_program() -> list[str]:
    # -B: root leaves no __pycache__ in the developer's folders.
    return [sys.executable, "-B", str(Path(__file__).with_name("keeper_main.py"))]

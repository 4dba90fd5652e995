"""Where beds live: run directories, sockets, and who may use them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pytest_sonemu.errors import SettingsError

RUN_ROOT = Path("/run/sonemu")
SOCKET_NAME = "keeper.sock"
_BED_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


def run_dir(bed: str, uid: int) -> Path:
    """The run directory of a user's bed: made by its keeper, owned by the user, mode 0700."""
    return RUN_ROOT / str(uid) / bed


def keeper_socket(bed: str, uid: int) -> Path:
    return run_dir(bed, uid) / SOCKET_NAME


def check_bed_name(name: str) -> str:
    """A bed's name becomes part of container names and paths. Raises SettingsError for any other."""
    if not _BED_NAME.fullmatch(name):
        raise SettingsError(
            f"'{name}' cannot name a test bed: use a-z, 0-9 and '-', at most 40, not '-' first"
        )
    return name


def new_bed_name(project: str) -> str:
    """A name that no other bed has, with what a person recognises in front."""
    word = re.sub(r"[^a-z0-9]+", "-", project.lower()).strip("-")[:20].strip("-") or "bed"
    return f"{word}-{os.urandom(2).hex()}"

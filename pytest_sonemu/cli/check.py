"""One line of `sonemu doctor`, and what the checks share."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "instead", "missing"]
SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """One line: `mend` is the command that helps; `needed` is False for what only some parts want."""

    name: str
    state: State
    detail: str
    mend: str = ""
    needed: bool = True

    @property
    def failed(self) -> bool:
        return self.needed and self.state == "missing"


def find_program(name: str) -> str | None:
    """Its path; the folders of root's programs count too."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def succeeds(argv: Sequence[str]) -> bool:
    """Whether a command ends with 0 in a few seconds."""
    try:
        done = subprocess.run(
            argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0

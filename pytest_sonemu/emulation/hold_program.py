"""Where the compiled hold lies: the static program that keeps a VNF's command back until it is wired.

It is made from `hold.c` by `setup.py`, so wheels and installs carry it beside this module.
"""

from __future__ import annotations

import os
from pathlib import Path

from pytest_sonemu.errors import MachineError

HOLD = Path(__file__).resolve().with_name("hold")


def hold_path() -> Path:
    """The hold, ready to be mounted into a container. MachineError if it was not built."""
    if not os.access(HOLD, os.X_OK):
        raise MachineError(
            f"the hold is missing ({HOLD}): it is built on Linux with a C compiler and a static libc; "
            "apt-get install gcc libc6-dev, then `make hold` here or install pytest-sonemu again"
        )
    return HOLD

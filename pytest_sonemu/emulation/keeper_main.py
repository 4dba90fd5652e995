"""Start a keeper: detach, report, and leave the rest to `keeper.py`.

Run as a program (`python keeper_main.py BED UID`), by root or through sudo. The caller's process
returns when the keeper listens, with exit status 0, or with 1 and the reason on standard error.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def start(bed_name: str, uid: int) -> int:
    """Fork twice; the grandchild becomes the keeper in a session of its own."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        # From the first instruction: a pipe of the caller held open by us would hang whoever reads it.
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.closerange(3, write_end)
        os.closerange(write_end + 1, 4096)
        os.chdir("/")
        os.umask(0o022)
        try:
            from pytest_sonemu.emulation.keeper import main
        except Exception as error:  # noqa: BLE001 - told to the caller, who has the terminal
            os.write(write_end, f"{type(error).__name__}: {error}".encode())
            os._exit(1)
        main(bed_name, uid, write_end)
        os._exit(0)
    os.close(write_end)
    os.waitpid(child, 0)
    with os.fdopen(read_end, "rb") as outcome:
        told = outcome.read().decode(errors="replace")
    if told == "listening":
        return 0
    print(told or "the keeper ended before it listened", file=sys.stderr)
    return 1


if __name__ == "__main__":
    # Not this folder, whose modules have names of the standard library's.
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    sys.exit(start(sys.argv[1], int(sys.argv[2])))

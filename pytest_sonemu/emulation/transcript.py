"""The bed's log of what was done to the network: every batch as a person could run it again."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from pytest_sonemu.planning.batches import Batch


class Transcript:
    """Appends to one file; safe from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        """A line of what happens, with the time of day."""
        now = time.time()
        stamp = time.strftime("%H:%M:%S", time.localtime(now))
        self._append(f"# {stamp}.{int(now * 1000) % 1000:03d} {text}\n")

    def batch(self, batch: Batch, namespace: str) -> None:
        """A batch about to be run in the network namespace behind a path."""
        self.note(batch.purpose)
        self._append(f"nsenter --net={namespace} {' '.join(batch.argv)} <<'END'\n{batch.text}END\n")

    def done(self, program: str, lines: Sequence[str], purpose: str) -> None:
        """What was done to the fabric over netlink, as the lines of a batch that does the same."""
        if lines:
            self.note(f"{purpose}, over netlink: {program} -batch, {len(lines)} lines")
            self._append("".join(f"#   {line}\n" for line in lines))

    def _append(self, text: str) -> None:
        with self._lock, self.path.open("a") as log:
            log.write(text)

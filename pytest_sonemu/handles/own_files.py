"""The files that belong to the test that runs: its tables and recordings, and captures to compare with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_sonemu.handles.packet_list import Packets


@dataclass
class OwnFiles:
    """Where files of a test lie, and what becomes of captures that are to be kept.

    `folders` is where a relative path is looked for, in order; a new file is written into the first (none:
    the working directory). With `update` captures are written anew instead of being compared; `hold`
    keeps them back until `write`, so that a test that fails leaves its files as they are. `again` is the
    command that writes them.
    """

    folders: Sequence[Path] = ()
    update: bool = False
    hold: bool = False
    again: str = ""
    held: dict[Path, Packets] = field(default_factory=dict)

    def place(self, path: str | os.PathLike[str]) -> Path:
        """Where a file is, or is to be."""
        places = [folder / path for folder in self.folders] or [Path(path)]
        return next((place for place in places if place.exists()), places[0])

    def keep(self, place: Path, packets: Packets) -> None:
        """Write a capture into a file, at once or when the test has passed."""
        self.held[place] = packets
        if not self.hold:
            self.write()

    def write(self) -> list[Path]:
        """Write what is held; returns the files."""
        written = []
        for place, packets in self.held.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            written.append(packets.save(place))
        self.held = {}
        return written

    def drop(self) -> list[Path]:
        """Write nothing of what is held; returns the files that stay as they are."""
        left, self.held = list(self.held), {}
        return left

"""Where a bed's gatekeeper answers, for those who know the bed by name: a file in its run directory.

Apart from `serving.py`, since every verb of the command line asks this and none of them but `up` serves.
"""

from __future__ import annotations

from pathlib import Path

URL_FILE = "gatekeeper.url"


def publish(run_dir: Path, url: str) -> None:
    """Write down where the gatekeeper of the bed with this run directory answers."""
    fresh = run_dir / f"{URL_FILE}.new"
    fresh.write_text(f"{url}\n")
    fresh.replace(run_dir / URL_FILE)


def published(run_dir: Path) -> str | None:
    """Where the gatekeeper of the bed with this run directory answers; None if it has none."""
    try:
        return (run_dir / URL_FILE).read_text().strip()
    except FileNotFoundError:
        return None

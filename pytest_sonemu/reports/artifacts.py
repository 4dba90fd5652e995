"""The papers of a test in a folder of its own: logs, plan, picture, transcript, story, capture files, …"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from pytest_sonemu.errors import SonemuError
from pytest_sonemu.handles.black_box import BlackBox
from pytest_sonemu.handles.core import BedCore
from pytest_sonemu.handles.pcap import write_pcap
from pytest_sonemu.planning.describe import describe
from pytest_sonemu.reports.gathering import Gathered
from pytest_sonemu.reports.picture import picture
from pytest_sonemu.reports.secrets import Blotter
from pytest_sonemu.reports.story import tell_all
from pytest_sonemu.sharing.pool import Held
from pytest_sonemu.sharing.session import Sharing

FOLDER = "sonemu-artifacts"
INCOMPLETE = "incomplete.txt"
_REFUSED = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST_NAME = 120


def folder_of(item: pytest.Item, sharing: Sharing) -> Path:
    """Where this test's papers lie: below --sonemu-artifacts-dir, else `sonemu-artifacts` in the rootdir."""
    given = item.config.getoption("sonemu_artifacts_dir", None) or item.config.getini("sonemu_artifacts_dir")
    top = Path(given) if given else item.config.rootpath / FOLDER
    if not top.is_absolute():
        top = item.config.invocation_params.dir / top
    return top / _REFUSED.sub("-", item.nodeid).strip("-.")[-_LONGEST_NAME:]


def write(
    item: pytest.Item,
    beds: Sequence[tuple[Held, BedCore]],
    found: Mapping[str, Gathered],
    began: float,
    sharing: Sharing,
    blotter: Blotter,
    *,
    failed: bool,
) -> Path:
    """Write the papers, in place of those of an earlier run; the folder. A bed of several has one each."""
    folder = folder_of(item, sharing)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if folder.parent.name == FOLDER and not (folder.parent / ".gitignore").exists():
        (folder.parent / ".gitignore").write_text("*\n")
    for _held, core in beds:
        place = folder if len(beds) == 1 else folder / core.client.name
        for name, text in _papers(core, found[core.client.name], began):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(blotter.clean(text))
        _copy_shares(core, place, blotter)
        if failed and core.black_box is not None:
            _write_pcaps(core, core.black_box, place / "pcap", began)
    return folder


def _write_pcaps(core: BedCore, black_box: BlackBox, place: Path, began: float) -> None:
    """A capture file for each virtual link: what its ends have put on it since the test began."""
    place.mkdir(parents=True, exist_ok=True)
    try:
        for instance in core.known_instances():
            recorded = black_box.frames(instance.plan.links, began)
            for link in instance.plan.links:
                name = _REFUSED.sub("-", f"{instance.plan.instance}.{link.id}")
                write_pcap(place / f"{name}.pcap", recorded.links.get(link.id, ()))
            if recorded.since is not None:
                (place / INCOMPLETE).write_text(
                    f"Of what was put on the links before {recorded.since - began:.3f} s after the test's"
                    " beginning some is not here: it was more than the memory for it holds.\n"
                )
    except (SonemuError, OSError) as error:
        (place / INCOMPLETE).write_text(f"Not everything is here: {error}\n")


def _copy_shares(core: BedCore, place: Path, blotter: Blotter) -> None:
    """What VNFs have put into /mnt/share, a folder each; empty ones are left out."""

    def copy(source: str, target: str) -> None:
        shutil.copy2(source, target, follow_symlinks=False)
        written = Path(target)
        if (
            blotter
            and not written.is_symlink()
            and (cleaned := blotter.clean_bytes(was := written.read_bytes())) != was
        ):
            written.write_bytes(cleaned)

    for instance in core.known_instances():
        for share in sorted((core.client.run_dir / "instances" / instance.plan.instance).glob("*/share")):
            if any(share.iterdir()):
                # What links lead to is the image's, or nobody's.
                shutil.copytree(
                    share,
                    place / "share" / share.parent.name,
                    symlinks=True,
                    dirs_exist_ok=True,
                    copy_function=copy,
                )


def _papers(core: BedCore, gathered: Gathered, began: float) -> Iterator[tuple[str, str]]:
    yield "story.txt", "".join(f"{line}\n" for line in tell_all(gathered.entries, began))
    for endpoint, lines in gathered.logs.items():
        yield f"logs/{endpoint}.log", "".join(f"{line.time:.6f} {line.text}\n" for line in lines)
    for instance in core.known_instances():
        name = instance.plan.instance
        yield f"{name}.plan.txt", describe(instance.plan)
        yield f"{name}.svg", picture(instance.plan, core.client.topology, gathered.blamed)
    for paper in ("transcript.log", "keeper.log"):
        source = core.client.run_dir / paper
        if source.is_file():
            yield paper, source.read_text(errors="replace")

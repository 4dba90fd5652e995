"""Images are had before the first test: once a run, by one worker while the others wait."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from pytest_sonemu.errors import SonemuError
from pytest_sonemu.sharing.contracts import PrepareImages
from pytest_sonemu.sharing.locks import locked
from pytest_sonemu.sharing.requests import Ask


def prepare(
    asks: Sequence[Ask], prepare_images: PrepareImages, progress: Callable[[str], None], shared: Path | None
) -> None:
    """Have the images of `asks` prepared. `shared`: a folder that all workers of this run see, if any.

    An image that cannot be had is told here and is the error of the tests that need it, not of the run.
    """
    wishes = list({ask.content: ask for ask in asks if ask.package is not None}.values())
    if not wishes:
        return
    if shared is None or not shared.is_dir():
        _prepare(wishes, prepare_images, progress)
        return
    with locked(shared / "images") as descriptor:
        if os.fstat(descriptor).st_size == 0:
            _prepare(wishes, prepare_images, progress)
            os.write(descriptor, b"done\n")


def _prepare(wishes: Sequence[Ask], prepare_images: PrepareImages, progress: Callable[[str], None]) -> None:
    try:
        prepare_images(wishes, progress)
    except SonemuError as error:
        progress(f"images: {error}")

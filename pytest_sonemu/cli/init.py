"""`sonemu init`: a project folder to begin with, and one test that passes."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

DEFAULT_IMAGE = "sonemu/vnf-base"


@click.command(short_help="Write a project to begin with, and a test that passes.")
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@click.option("--image", help="The VNF's Docker image (default: sonemu/vnf-base).")
@click.option(
    "--build",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with the VNF's Dockerfile.",
)
@click.option(
    "--interfaces", default="input,output", show_default=True, help="The VNF's interfaces, in order."
)
@click.option("--name", help="The VNF's id (default: from --build or --image).")
def init(folder: Path, image: str | None, build: Path | None, interfaces: str, name: str | None) -> None:
    """Write a project into FOLDER: descriptors of one VNF between SAPs, a topology, and a test that passes.

    Nothing is overwritten: a file that is there already is an error, before the first one is written.
    """
    from pytest_sonemu.cli.project_files import project_files
    from pytest_sonemu.errors import SettingsError

    if image and build:
        raise SettingsError("--image and --build exclude each other: the VNF has one image")
    if build is not None and not (build / "Dockerfile").is_file():
        raise SettingsError(f"there is no Dockerfile in {build}")
    points = [point.strip() for point in interfaces.split(",") if point.strip()]
    if not points or len(set(points)) != len(points):
        raise SettingsError(f"--interfaces takes names that differ, like in,out; not '{interfaces}'")
    for point in points:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}", point):
            raise SettingsError(
                f"'{point}' cannot name an interface: 1 to 15 of A-Z, a-z, 0-9, '_', '.', '-'"
            )
    vnf = name or _name_of(image, build)
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", vnf):
        raise SettingsError(f"'{vnf}' cannot name a VNF: use a-z, 0-9 and '-' (--name)")
    service = re.sub(r"[^a-z0-9-]+", "-", folder.resolve().name.lower()).strip("-") or "service"
    context = None if build is None else os.path.relpath(build.resolve(), folder.resolve())
    files = project_files(service, vnf, image or DEFAULT_IMAGE, context, points)
    taken = [path for path in files if (folder / path).exists()]
    if taken:
        raise SettingsError(
            f"{', '.join(taken)} {'is' if len(taken) == 1 else 'are'} there already in {folder}"
        )
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        click.echo(f"wrote {target}")
    click.echo(f"run it: pytest {folder}")


def _name_of(image: str | None, build: Path | None) -> str:
    if build is not None:
        word = build.resolve().name
    elif image is not None:
        word = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    else:
        word = "vnf"
    return re.sub(r"[^a-z0-9-]+", "-", word.lower()).strip("-") or "vnf"

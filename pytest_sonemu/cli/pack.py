"""`sonemu pack`: a project folder as a package, the same bytes for the same content."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command(short_help="Pack a project folder as a .son or .tgo.")
@click.argument("project", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="The file to write, - for standard output (default: vendor.name.version.son, or .tgo, here).",
)
def pack(project: Path, output: Path | None) -> None:
    """Pack the project in PROJECT as a .son, or a .tgo if it is one of 5GTANGO.

    The same content makes the same bytes on any day and machine. Findings are shown; a project that
    cannot be deployed is not packed.
    """
    from pytest_sonemu.descriptors.pack import pack_files, package_name
    from pytest_sonemu.descriptors.read import read_package

    package = read_package(project)
    for finding in package.findings:
        if finding.level != "info":
            click.echo(str(finding), err=True)
    data = pack_files(package.files)
    if output is not None and str(output) == "-":
        sys.stdout.buffer.write(data)
        return
    target = output if output is not None else Path(package_name(package))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    click.echo(f"wrote {target} ({len(data)} bytes, {len(package.files)} files)")

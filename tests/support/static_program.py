"""An image with nothing in it but one static program: no shell, no libc, no tool."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import tempfile
from pathlib import Path

from pytest_sonemu.emulation.docker_api import connect, inspect_image

SOURCE = Path(__file__).with_name("static_program.c")


def static_image() -> str:
    """Its reference; built when it is not there. The program is `/app` (see its source for what it does)."""
    reference = f"sonemu-test/static:{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]}"
    with connect() as docker:
        if inspect_image(docker, reference) is None:
            name, tag = reference.split(":")
            docker.import_image_from_data(_root(), repository=name, tag=tag, changes=['ENTRYPOINT ["/app"]'])
    return reference


def _root() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "app")
        subprocess.run(["cc", "-static", "-O1", "-Wall", "-o", program, SOURCE], check=True)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(program, "app")
            for name in ("data", "tmp", "var", "var/log"):
                member = tarfile.TarInfo(name)
                member.type, member.mode = tarfile.DIRTYPE, 0o777
                archive.addfile(member)
        return buffer.getvalue()

"""`sonemu.yml` beside a package: the lowest layer of a test's settings."""

from __future__ import annotations

from pathlib import Path

from pytest_sonemu.errors import SettingsError
from pytest_sonemu.sharing.settings import Layer, known_keys, layer

# What it says beyond that is about the package's own tests.
OTHER_KEYS = ("policy", "paths")


def package_layer(package: object) -> Layer | None:
    """What `sonemu.yml` in a project folder, or beside a `.son` or `.tgo`, says; None without one.

    Raises SettingsError with its findings.
    """
    if not isinstance(package, (str, Path)):
        return None
    from pytest_sonemu.descriptors import located
    from pytest_sonemu.descriptors.findings import Findings
    from pytest_sonemu.descriptors.read import OPTIONS_FILE

    folder = Path(package) if Path(package).is_dir() else Path(package).parent
    path = folder / OPTIONS_FILE
    if not path.is_file():
        return None
    findings = Findings()
    node = located.load(path.read_bytes(), str(path), findings, rule="sonemu_options")
    if findings.failed:
        raise SettingsError("\n".join(map(str, findings.errors)))
    plain = node.plain() if node is not None else None
    if not isinstance(plain, dict):
        return None
    said = {key: value for key, value in plain.items() if key not in OTHER_KEYS}
    # A key that does not exist is a finding of the package, with its place.
    return layer(str(path), {key: value for key, value in said.items() if key in known_keys()}, [folder])

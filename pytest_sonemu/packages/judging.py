"""The verdict on a package with all that lies beside it: descriptors, options, expectations."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_sonemu.descriptors.findings import Finding
    from pytest_sonemu.descriptors.read import Verdict
    from pytest_sonemu.descriptors.rules import Levels


def judge(path: Path, levels: Levels) -> Verdict:
    """Everything that can be said of the package at `path`, its `sonemu.yml` included."""
    from pytest_sonemu.descriptors.read import check_package

    verdict = check_package(path, levels=levels, cores=os.cpu_count())
    found = _beside(verdict, levels)
    if not found:
        return verdict
    return replace(verdict, findings=(*verdict.findings, *found), package=None)


def _beside(verdict: Verdict, levels: Levels) -> tuple[Finding, ...]:
    """What is wrong with the options and expectations in a package's `sonemu.yml`."""
    from pytest_sonemu.descriptors.findings import Findings
    from pytest_sonemu.descriptors.model import Place
    from pytest_sonemu.descriptors.read import OPTIONS_FILE
    from pytest_sonemu.errors import SettingsError
    from pytest_sonemu.handles.starting import OTHER_KEYS
    from pytest_sonemu.packages.expectations import expectation_findings
    from pytest_sonemu.planning.options import parse_service_options

    package = verdict.package
    if package is None or not package.sonemu:
        return ()
    places: list[Place] = []

    def where(path: tuple[str, ...]) -> Place:
        places.append(package.sonemu_places.get(path, Place(str(package.path))))
        return places[-1]

    findings = Findings(levels)
    try:
        parse_service_options(package.sonemu, where, also=OTHER_KEYS)
    except SettingsError as error:
        for place, line in zip(places, str(error).splitlines(), strict=False):
            findings.error("sonemu_options", line.removeprefix(f"{place}: "), place)
    folder = package.path if package.path.is_dir() else package.path.parent
    expectation_findings(folder / OPTIONS_FILE, package.service, findings)
    return findings.in_order()

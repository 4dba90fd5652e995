"""`project.yml`: what it says of the package, and, of a 5GTANGO project, which files the package has."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import yaml

from pytest_sonemu.descriptors.archive import NAPDS, TOSCA, bad_name, ignored
from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.schema_common import LOWER, TEXT, TEXTS, VERSION
from pytest_sonemu.descriptors.section import Section
from pytest_sonemu.descriptors.shapes import Anything, Items, Table

BAD_PROJECT = "sonemu_project"
_PACKAGE = ("name", "vendor", "version", "maintainer", "description")
_DATE = "1980-01-01T00:00:00Z"  # the same package on any day: packing is reproducible
PROJECT_SHAPE = Table(
    {
        "version": TEXT,
        "package": Table(
            {"name": LOWER, "vendor": LOWER, "version": VERSION, "maintainer": TEXT, "description": TEXT},
            required=("name", "vendor", "version"),
            called="'package' of project.yml",
        ),
        "descriptor_extension": TEXT,
        "description": TEXT,
        "maintainer": TEXT,
        "catalogues": Anything(),
        "publish_to": Anything(),
        "uuid": TEXT,
        "name": TEXT,
        "vendor": TEXT,
        "files": Items(
            Table(
                {"path": TEXT, "type": TEXT, "tags": TEXTS, "testing_tags": TEXTS},
                required=("path", "type"),
                called="an entry of 'files' in project.yml",
            )
        ),
    },
    required=("package",),
    called="project.yml",
)


def check_project(project: Section, findings: Findings) -> None:
    """`project.yml` against what a project needs; nothing of it stops a start."""
    for complaint in PROJECT_SHAPE.complaints(project.node, PROJECT_SHAPE.called):
        findings.warning(BAD_PROJECT, complaint.message, complaint.place, complaint.hint, complaint.about)


def package_texts(project: Section | None) -> dict[str, str]:
    """Name, vendor and so on of the package, as far as they are written."""
    node = project.node_of("package") if project is not None else None
    if node is None or not isinstance(node.value, dict):
        return {}
    written = {key: node.value[key] for key in _PACKAGE if key in node.value}
    return {
        key: value.text.strip()
        for key, value in written.items()
        if not isinstance(value.value, (dict, list)) and value.text.strip()
    }


def tango_members(
    project: Section, root: Path, put: Callable[[str, Path], None], findings: Findings
) -> dict[str, bytes]:
    """Puts the files of a 5GTANGO project, and returns the members that packing makes: NAPD, TOSCA.meta."""
    content: list[dict[str, object]] = []
    for entry in project.sections("files", "an entry of 'files'", shape=BAD_PROJECT):
        path = entry.text("path", required="error", shape=BAD_PROJECT)
        kind = entry.text("type") or "text/plain"
        if path is None:
            continue
        name, source = path.removeprefix("./"), root / path
        problem = bad_name(name)
        if problem is not None:
            findings.error(BAD_PROJECT, f"the file '{path}' {problem}", entry.place_of("path"))
            continue
        if not source.is_file() and not source.is_dir():
            names = [str(file.relative_to(root)) for file in sorted(root.glob("*/*"))]
            say = findings.error if kind.startswith("application/vnd.5gtango.") else findings.warning
            message = f"'{path}' is not in the project"
            say(BAD_PROJECT, message, entry.place_of("path"), findings.near(name, names))
            continue
        tags = {
            key: [node.text for node in entry.items(key, level="warning")]
            for key in ("tags", "testing_tags")
            if entry.node_of(key) is not None
        }
        inside = sorted(source.rglob("*")) if source.is_dir() else [source]
        for file in inside:
            member = file.relative_to(root).as_posix()
            if file.is_file() and not ignored(member):
                put(member, file)
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
                item = {"source": member, "algorithm": "SHA-256", "hash": digest, "content-type": kind}
                content.append({**item, **tags})
    texts = package_texts(project)
    napd: dict[str, object] = {
        "descriptor_schema": "https://raw.githubusercontent.com/sonata-nfv/tng-schema/master/package-specification/napd-schema.yml",
        "vendor": texts.get("vendor", "vendor"),
        "name": texts.get("name", root.resolve().name),
        "version": texts.get("version", "0.1"),
        "package_type": f"application/vnd.5gtango.package.{_kind(content)}",
        **{key: texts[key] for key in ("maintainer", "description") if key in texts},
        "release_date_time": _DATE,
        "package_content": content,
    }
    return {
        NAPDS[0]: yaml.safe_dump(napd, sort_keys=False, allow_unicode=True).encode(),
        TOSCA: _tosca_meta().encode(),
        "etsi_manifest.mf": _etsi_manifest(napd, content).encode(),
    }


def _kind(content: list[dict[str, object]]) -> str:
    kinds = {item["content-type"] for item in content}
    if "application/vnd.5gtango.nsd" in kinds:
        return "nsp"
    return "vnfp" if "application/vnd.5gtango.vnfd" in kinds else "tdp"


def _tosca_meta() -> str:
    return (
        "TOSCA-Meta-Version: 1.0\nCSAR-Version: 1.0\nCreated-By: sonemu\nEntry-Manifest: etsi_manifest.mf\n"
        f"\nName: {NAPDS[0]}\nContent-Type: application/vnd.5gtango.napd\n"
    )


def _etsi_manifest(napd: dict[str, object], content: list[dict[str, object]]) -> str:
    head = (
        f"ns_product_name: {napd['name']}\nns_provider_id: {napd['vendor']}\n"
        f"ns_package_version: {napd['version']}\nns_release_date_time: {_DATE}\n"
    )
    blocks = [
        f"\nSource: {item['source']}\nAlgorithm: {item['algorithm']}\nHash: {item['hash']}\n"
        for item in content
    ]
    return head + "".join(blocks)

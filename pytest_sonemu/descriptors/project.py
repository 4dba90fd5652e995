"""A project folder seen as the package that it packs to.

Of SONATA:

project.yml                     name, vendor and version of the package
sources/nsd/*.yml               one NSD
sources/vnf/<vnf>/*.yml         one VNFD per folder
sources/vnf/<vnf>/Dockerfile    its image, if it is built: file:///docker_files/<vnf>/Dockerfile
docker_files/<image>/           further build contexts: file:///docker_files/<image>/Dockerfile
sonemu.yml                      options, which are not packed

Of 5GTANGO (`project_file.py`): project.yml with `files`, a list of paths and their types.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import yaml

from pytest_sonemu.descriptors.archive import (
    MANIFEST,
    MAX_MEMBER,
    MAX_MEMBERS,
    MAX_TOTAL,
    NAPDS,
    STRUCTURE,
    PackageFiles,
    bad_name,
    ignored,
    refused,
)
from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.located import load
from pytest_sonemu.descriptors.model import Place
from pytest_sonemu.descriptors.project_file import BAD_PROJECT, check_project, package_texts, tango_members
from pytest_sonemu.descriptors.section import Section
from pytest_sonemu.errors import PackageError

PROJECT = "project.yml"
_SKIPPED_FOLDERS = frozenset({".git", "__pycache__", ".venv", ".tox", "node_modules"})
_YAML = (".yml", ".yaml")


def open_project(root: Path, findings: Findings) -> PackageFiles:
    """The project in `root` as package files. Raises PackageError if it is no project folder."""
    shown = str(root)
    try:
        if (root / MANIFEST).is_file() or any((root / name).is_file() for name in NAPDS):
            return _Collector(root, findings).unpacked()
        if not (root / PROJECT).is_file():
            raise refused(
                shown, STRUCTURE, f"no {PROJECT} in the folder", "'sonemu init' writes a project folder"
            )
        return _Collector(root, findings).project()
    except OSError as error:
        raise refused(str(error.filename or shown), STRUCTURE, f"cannot be read: {error.strerror}") from None


class _Collector:
    def __init__(self, root: Path, findings: Findings) -> None:
        self._root, self._findings = root, findings
        self._sources: dict[str, Path] = {}

    def unpacked(self) -> PackageFiles:
        """A package that somebody unpacked."""
        for source in self._walk(self._root):
            self._put(source.relative_to(self._root).as_posix(), source)
        return self._files({})

    def project(self) -> PackageFiles:
        """The package that the project packs to. Faults are findings, and what is there is read on."""
        path = self._root / PROJECT
        node = load(path.read_bytes(), str(path), self._findings, rule=BAD_PROJECT)
        project = Section.of(node, self._findings, BAD_PROJECT, PROJECT) if node is not None else None
        if project is not None:
            check_project(project, self._findings)
        if project is not None and "files" in project:
            return self._files(tango_members(project, self._root, self._put_inside, self._findings))
        return self._packed(project)

    def _packed(self, project: Section | None) -> PackageFiles:
        sources = self._root / "sources"
        nsds = self._yaml_in(sources / "nsd")
        if len(nsds) != 1:
            found = ", ".join(nsd.name for nsd in nsds) or "none"
            self._refuse(f"sources/nsd must hold exactly one NSD; found: {found}", sources / "nsd")
        functions = self._functions(sources / "vnf")
        members = [
            (f"service_descriptors/{nsd.name}", nsd, "application/sonata.service_descriptor") for nsd in nsds
        ]
        taken = set()
        for folder, vnfd in functions:
            name = vnfd.name if vnfd.name not in taken else f"{folder}-{vnfd.name}"
            taken.add(name)
            members.append((f"function_descriptors/{name}", vnfd, "application/sonata.function_descriptor"))
        for member, source, _ in members:
            self._put(member, source)
        self._contexts(sources, dict(functions))
        contents = [(member, kind) for member, _, kind in members]
        contents += [
            (member, _content_type(member))
            for member in sorted(self._sources)
            if member.startswith("docker_files/")
        ]
        return self._files({MANIFEST: self._manifest(project, contents)})

    def _functions(self, folder: Path) -> list[tuple[str, Path]]:
        """(folder name, VNFD) of each VNF. A YAML file lying directly in sources/vnf is a VNFD too."""
        functions = [(vnfd.stem, vnfd) for vnfd in self._yaml_in(folder)]
        for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
            if not entry.is_dir() or entry.name in _SKIPPED_FOLDERS:
                continue
            found = self._yaml_in(entry)
            if len(found) > 1:  # a build context may hold YAML of its own
                found = [path for path in found if b"virtual_deployment_units" in path.read_bytes()]
            if len(found) != 1:
                names = ", ".join(path.name for path in found) or "none"
                self._refuse(f"a folder of sources/vnf must hold exactly one VNFD; found: {names}", entry)
            else:
                functions.append((entry.name, found[0]))
        return functions

    def _contexts(self, sources: Path, functions: dict[str, Path]) -> None:
        roots = [self._root / "docker_files", sources / "docker_files"]
        roots += [
            vnfd.parent / "docker_files" for vnfd in functions.values() if vnfd.parent != sources / "vnf"
        ]
        for root in roots:
            if root.is_dir():
                for source in self._walk(root):
                    self._put(f"docker_files/{source.relative_to(root).as_posix()}", source)
        for name, vnfd in functions.items():
            folder = vnfd.parent
            if folder == sources / "vnf" or not (folder / "Dockerfile").is_file():
                continue
            if any(member.startswith(f"docker_files/{name}/") for member in self._sources):
                self._refuse(
                    f"docker_files/{name} is there twice: as a folder of that name and as this one", folder
                )
                continue
            for source in self._walk(folder):
                if source != vnfd:
                    self._put(f"docker_files/{name}/{source.relative_to(folder).as_posix()}", source)

    def _manifest(self, project: Section | None, contents: list[tuple[str, str]]) -> bytes:
        texts = package_texts(project)
        manifest: dict[str, object] = {
            "descriptor_version": "1.0",
            **texts,
            "vendor": texts.get("vendor", "vendor"),
            "name": texts.get("name", self._root.resolve().name),
            "version": texts.get("version", "0.1"),
            "sealed": True,
        }
        if contents and contents[0][0].startswith("service_descriptors/"):
            manifest["entry_service_template"] = f"/{contents[0][0]}"
        manifest["package_content"] = [
            {"name": f"/{member}", "content-type": kind, "md5": _md5(self._sources[member])}
            for member, kind in contents
            if member in self._sources
        ]
        return yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True).encode()

    def _files(self, made: dict[str, bytes]) -> PackageFiles:
        sources = self._sources
        sizes = {name: len(data) for name, data in made.items()}
        sizes |= {name: path.stat().st_size for name, path in sources.items()}
        for name, size in sizes.items():
            if size > MAX_MEMBER:
                self._refuse(f"the file has {size} bytes, more than {MAX_MEMBER}", sources[name])
        if len(sizes) > MAX_MEMBERS:
            self._refuse(f"the package has {len(sizes)} files, more than {MAX_MEMBERS}", self._root)
        if sum(sizes.values()) > MAX_TOTAL:
            self._refuse(f"the package has more than {MAX_TOTAL} bytes", self._root)
        if self._findings.failed:
            raise PackageError(f"{self._root} is not a project that can be packed", self._findings)

        def read(name: str) -> bytes:
            if name in made:
                return made[name]
            try:
                return sources[name].read_bytes()
            except OSError as error:
                raise refused(str(sources[name]), STRUCTURE, f"cannot be read: {error.strerror}") from None

        shown = {name: str(path) for name, path in sources.items()} | {
            name: str(self._root / PROJECT) for name in made
        }
        executable = frozenset(name for name, path in sources.items() if path.stat().st_mode & 0o111)
        return PackageFiles(
            str(self._root),
            dict(sorted(sizes.items())),
            read,
            shown=shown,
            executable=executable,
            made=frozenset(made),
        )

    def _yaml_in(self, folder: Path) -> list[Path]:
        if not folder.is_dir():
            return []
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix in _YAML and path.is_file() and not ignored(path.name)
        )

    def _walk(self, folder: Path) -> Iterator[Path]:
        """The files below `folder`, in order. Links that lead out of the project are refused."""
        inside = self._root.resolve()
        for parent, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS)
            for name in sorted([*names, *(name for name in folders if Path(parent, name).is_symlink())]):
                path = Path(parent, name)
                if ignored(name):
                    continue
                if path.is_symlink() and (not path.is_file() or not path.resolve().is_relative_to(inside)):
                    self._refuse("a symbolic link that is no file of this project", path)
                elif path.is_file():
                    yield path

    def _put_inside(self, member: str, source: Path) -> None:
        """As `_put`, for a path that somebody wrote: it may lead out of the project by a link."""
        if source.resolve().is_relative_to(self._root.resolve()):
            self._put(member, source)
        else:
            self._refuse("a symbolic link that is no file of this project", source)

    def _put(self, member: str, source: Path) -> None:
        reason = bad_name(member)
        if reason is not None:
            self._refuse(f"the file {reason}", source)
        elif member in self._sources:
            self._refuse(f"{member} comes from two files, the other is {self._sources[member]}", source)
        else:
            self._sources[member] = source

    def _refuse(self, message: str, where: Path) -> None:
        self._findings.error(STRUCTURE, message, Place(str(where)))


def _content_type(member: str) -> str:
    return "application/x-sh" if member.endswith(".sh") else "application/sonata.docker_files"


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()

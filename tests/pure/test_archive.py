from __future__ import annotations

import io
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_sonemu.descriptors import archive
from pytest_sonemu.descriptors.archive import archive_of, unpack_context
from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.read import read_package
from pytest_sonemu.errors import PackageError
from tests.pure.package_writing import MANIFEST, faults, members, nsd, refusal, vnfd, write_son

GOOD = members(nsd({"fw": "fw"}, {"l": ["input", "fw:input"]}), vnfd("fw"))


def words_on(data: bytes, tmp_path: Path) -> str:
    path = tmp_path / "x.son"
    path.write_bytes(data)
    with pytest.raises(PackageError) as caught:
        read_package(path)
    return str(caught.value)


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as osm:
        osm.addfile(tarfile.TarInfo("ping_vnf/ping_vnfd.yaml"))
    return buffer.getvalue()


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        for name in names:
            package.writestr(name, b"x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "the file is empty"),
        (b"just text", "not a zip archive"),
        (b"PK\x03\x04 cut", "a damaged or cut zip archive"),
        (tar(), "OSM package"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (zipped("TOSCA-Metadata/TOSCA.meta", "Definitions/nsd.yml"), "5GTANGO"),
        (zipped("package/META-INF/MANIFEST.MF"), "in the folder package/"),
        (zipped("ping_nsd.yaml", "ping_vnfd.yaml"), "not a SONATA one"),
        (zipped("readme.txt"), "no META-INF/MANIFEST.MF"),
    ],
)
def test_what_is_no_package_is_refused_by_what_it_is(data: bytes, named: str, tmp_path: Path) -> None:
    assert named in words_on(data, tmp_path)


def test_a_missing_file_and_a_folder_without_project_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="no such file"):
        read_package(tmp_path / "none.son")
    with pytest.raises(PackageError, match=r"no project\.yml in the folder .*sonemu init"):
        read_package(tmp_path)


def entry(
    name: str, *, mode: int = stat.S_IFREG | 0o644, data: bytes = b"x", packed: bool = False
) -> Callable[..., None]:
    def put(package: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo("placeholder")
        info.filename = info.orig_filename = name
        info.external_attr = mode << 16
        info.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        package.writestr(info, data)

    return put


@pytest.mark.parametrize(
    ("put", "named"),
    [
        (entry("../outside"), "leads out of the package"),
        (entry("a/../../outside"), "leads out of the package"),
        (entry("/etc/passwd"), "an absolute name"),
        (entry("C:/windows"), "an absolute name"),
        (entry("docker_files\\fw\\Dockerfile"), "a backslash"),
        (entry("a//b"), "cannot be unpacked"),
        (entry("./a"), "cannot be unpacked"),
        (entry("link", mode=stat.S_IFLNK | 0o777), "symbolic link"),
        (entry("pipe", mode=stat.S_IFIFO | 0o644), "neither file nor folder"),
        (entry(MANIFEST), "two members of this name"),
        (entry(f"{MANIFEST}/inner"), "a file is used as a folder"),
        (entry("zeros", data=bytes(8 * 1024**2), packed=True), "times when unpacked"),
    ],
)
def test_unsafe_members_are_refused(put: Callable[..., None], named: str, tmp_path: Path) -> None:
    path = write_son(tmp_path / "x.son", GOOD)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile's own word on a duplicate
        with zipfile.ZipFile(path, "a") as package:
            put(package)
    messages = [str(fault) for fault in faults(path)]
    assert any(named in message for message in messages), messages


def test_limits_hold_for_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_son(tmp_path / "x.son", GOOD)
    limits = {"MAX_MEMBERS": "members, more", "MAX_TOTAL": "unpacks to", "MAX_MEMBER": "bytes, more"}
    for limit, named in {**limits, "MAX_ARCHIVE": "the archive has"}.items():
        with monkeypatch.context() as patch:
            patch.setattr(archive, limit, 1)
            assert any(named in fault.message for fault in faults(path))


def test_a_damaged_member_is_refused(tmp_path: Path) -> None:
    path = write_son(tmp_path / "x.son", GOOD)
    data = path.read_bytes()
    at = data.index(b"entry_service_template")
    path.write_bytes(data[:at] + b"X" + data[at + 1 :])
    assert any("damaged" in fault.message for fault in faults(path))


def test_what_macos_leaves_is_not_seen(tmp_path: Path) -> None:
    clean = write_son(tmp_path / "clean.son", GOOD)
    littered = write_son(
        tmp_path / "x.son",
        {
            **GOOD,
            "__MACOSX/._nsd.yml": b"\x00\x05",
            "function_descriptors/._fw.yml": b"\xff",
            ".DS_Store": b"\0",
        },
    )
    assert read_package(littered).digest == read_package(clean).digest


def test_a_build_context_is_unpacked_and_nothing_else(tmp_path: Path) -> None:
    path = write_son(
        tmp_path / "x.son", {**GOOD, "docker_files/fw/Dockerfile": b"FROM x", "docker_files/fwx": b"no"}
    )
    with zipfile.ZipFile(path, "a") as package:
        entry("docker_files/fw/bin/start.sh", mode=stat.S_IFREG | 0o755, data=b"#!")(package)
    target = tmp_path / "context"
    unpack_context(read_package(path).files, "docker_files/fw", target)
    unpacked = {file.relative_to(target).as_posix() for file in target.rglob("*") if file.is_file()}
    assert unpacked == {"Dockerfile", "bin/start.sh"}
    assert (target / "bin/start.sh").stat().st_mode & 0o111
    assert not (target / "Dockerfile").stat().st_mode & 0o111
    with pytest.raises(KeyError):
        unpack_context(read_package(path).files, "docker_files/none", tmp_path / "other")


def _flipped(data: bytes, places: list[tuple[int, int]]) -> bytes:
    changed = bytearray(data)
    for place, value in places:
        changed[place % len(changed)] = value
    return bytes(changed)


@given(st.binary(max_size=300) | st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=6))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_bytes_make_a_traceback(tmp_path: Path, change: bytes | list[tuple[int, int]]) -> None:
    path = tmp_path / "x.son"
    if isinstance(change, bytes):
        path.write_bytes(change)
    else:
        path.write_bytes(_flipped(write_son(path, GOOD).read_bytes(), change))
    error = refusal(path)
    assert error is None or error.findings


def test_an_archive_in_memory_is_read_too(tmp_path: Path) -> None:
    data = write_son(tmp_path / "x.son", GOOD).read_bytes()
    assert set(archive_of(data, "upload.son", Findings())) == set(GOOD)

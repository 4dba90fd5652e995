"""Files made to hurt: each is refused, or read, quickly and in little memory, with the reason."""

from __future__ import annotations

import os
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_sonemu.descriptors.findings import MOST_FINDINGS
from pytest_sonemu.descriptors.read import Verdict, check_package
from tests.pure.package_writing import MANIFEST, NSD, as_yaml, members, nsd, vnfd

GOOD = members(nsd({"fw": "fw"}, {"l": ["input", "fw:input"], "m": ["fw:output", "output"]}), vnfd("fw"))
VNFD = "function_descriptors/vnfd1.yml"
MIB = 1024**2


def packed(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def checked(path: Path, *, most: int = 64 * MIB) -> Verdict:
    """The verdict, which must come in seconds of CPU time, whoever else is busy, and in bounded memory.

    Looked at twice: tracing memory makes everything several times slower.
    """
    start = time.process_time()
    check_package(path)
    took = time.process_time() - start
    assert took < 10, f"{took:.1f} s"
    tracemalloc.start()
    try:
        verdict = check_package(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak // MIB} MiB"
    return verdict


def without(key: str) -> str:
    """The good NSD without one of its sections, to be written anew at its end."""
    tree = nsd({"fw": "fw"}, {"l": ["input", "fw:input"], "m": ["fw:output", "output"]})
    del tree[key]
    return as_yaml(tree).decode()


def aliases() -> bytes:
    lines = ["a: &a [" + ", ".join(["x"] * 9) + "]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    return "\n".join(lines).encode()


REFUSED: dict[str, tuple[Callable[[], dict[str, bytes]], str]] = {
    "a descriptor of 10 MB": (
        lambda: {**GOOD, NSD: os.urandom(5_000_000).hex().encode()},
        "bytes, more than",
    ),
    "a descriptor that grows": (lambda: {**GOOD, NSD: b"a: " + b"x" * 10_000_000}, "times when unpacked"),
    "a zip bomb of many members": (
        lambda: {**GOOD, **{f"z/{n}": bytes(4 * MIB) for n in range(20)}},
        "times when unpacked",
    ),
    "an alias bomb": (lambda: {**GOOD, NSD: aliases()}, "aliases expand to more than"),
    "a recursive alias": (lambda: {**GOOD, NSD: b"a: &a\n  b: *a\n"}, "refers to itself"),
    "duplicate keys": (lambda: {**GOOD, NSD: GOOD[NSD] + b"vendor: x\n"}, "key 'vendor' is written twice"),
    "thousands of duplicate keys": (lambda: {**GOOD, NSD: b"a: 1\n" * 50_000}, "is written twice"),
    "Latin-1": (lambda: {**GOOD, NSD: GOOD[NSD] + "author: é\n".encode("latin-1")}, "not UTF-8: byte 0xe9"),
    "UTF-16": (lambda: {**GOOD, NSD: "vendor: x\n".encode("utf-16")}, "not UTF-8"),
    "a NUL": (lambda: {**GOOD, NSD: GOOD[NSD] + b"author: \x00\n"}, "not YAML"),
    "binary": (lambda: {**GOOD, NSD: bytes(range(256))}, "not UTF-8"),
    "deep lists": (lambda: {**GOOD, NSD: b"[" * 1_900_000}, "nested deeper than"),
    "deep mappings": (
        lambda: {**GOOD, NSD: b"\n".join(b" " * depth + b"a:" for depth in range(1500))},
        "nested deeper than",
    ),
    "code": (lambda: {**GOOD, NSD: b"!!python/object/apply:os.system [id]"}, "is not allowed"),
    "two documents": (lambda: {**GOOD, NSD: GOOD[NSD] + b"---\na: 1\n"}, "more than one document"),
    "an unpaired surrogate": (
        lambda: {**GOOD, NSD: GOOD[NSD].replace(b"id: input", b'id: "\\ud800"')},
        "not YAML",
    ),
    "a reference of a megabyte": (
        lambda: {**GOOD, NSD: GOOD[NSD].replace(b"fw:input", b"fw:" + os.urandom(500_000).hex().encode())},
        "undefined connection point",
    ),
    "fifty thousand wrong references": (
        lambda: {
            **GOOD,
            NSD: (
                without("virtual_links")
                + "virtual_links:\n- id: l\n  connectivity_type: E-LAN\n  connection_points_reference:\n"
                + "".join(f'  - "fw{n}:inptu{n}"\n' for n in range(50_000))
            ).encode(),
        },
        "undefined connection point",
    ),
    "twenty thousand wrong points": (
        lambda: {
            **GOOD,
            NSD: (
                without("connection_points")
                + "connection_points:\n"
                + "".join(f"- {{id: p{n}, type: extrenal}}\n" for n in range(20_000))
            ).encode(),
        },
        "undefined connection point",
    ),
    "ten thousand VNFs that are not there": (
        lambda: {
            **GOOD,
            NSD: (
                without("network_functions")
                + "network_functions:\n"
                + "".join(f"- {{vnf_id: f{n}, vnf_name: fv{n}}}\n" for n in range(10_000))
            ).encode(),
        },
        "no VNFD for",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_with_the_reason(what: str, tmp_path: Path) -> None:
    make, reason = REFUSED[what]
    verdict = checked(packed(tmp_path / "x.son", make()), most=160 * MIB)
    assert verdict.package is None
    assert any(reason in finding.message for finding in verdict.findings if finding.blocks), [
        str(finding)[:300] for finding in verdict.findings[:5]
    ]
    assert len(verdict.findings) <= MOST_FINDINGS + 1
    assert all(len(str(finding)) < 2_500 for finding in verdict.findings)


def test_strange_limits_are_no_limits(tmp_path: Path) -> None:
    cores = ",".join(["0-9999"] * 100_000)
    memory = {"size": 1e308, "size_unit": "TiB"}
    function = vnfd(
        "fw", unit={"resource_requirements": {"cpu": {"vcpus": 1, "cores": cores}, "memory": memory}}
    )
    verdict = checked(packed(tmp_path / "x.son", {**GOOD, VNFD: as_yaml(function)}))
    assert verdict.package is not None
    resources = verdict.package.service.functions[0].units[0].resources
    assert (resources.cpu_ids, resources.memory) == ((), None)
    assert [finding.rule for finding in verdict.findings] == ["sonemu_cpu_ids", "sonemu_resources"]


@pytest.mark.parametrize(
    "size",
    ["1" * 400, "-1", "0", ".nan", "-.inf", "1e400", "0x7fffffffffffffff", "'1e3'", "[1]", "{}", "yes"],
)
def test_no_number_makes_a_traceback(size: str, tmp_path: Path) -> None:
    for key in (b"size: 256", b"vcpus: 1"):
        data = GOOD[VNFD].replace(key, key.split(b":")[0] + f": {size}".encode())
        verdict = checked(packed(tmp_path / "x.son", {**GOOD, VNFD: data}))
        assert verdict.package is not None
        limits = verdict.package.service.functions[0].units[0].resources
        assert limits.memory is None or limits.memory > 0
        assert limits.cpu is None or limits.cpu > 0


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    for size, head, reason in (
        (600 * MIB, b"PK\x03\x04", "bytes, more than"),
        (500 * MIB, b"PK\x03\x04", "a damaged or cut zip archive"),
        (500 * MIB, b"", "not a zip archive"),
    ):
        path = tmp_path / "x.son"
        with path.open("wb") as file:
            file.write(head)
            file.truncate(size)
        verdict = checked(path)
        assert not verdict.usable
        assert reason in verdict.findings[0].message
        path.unlink()


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path / "nul\0", tmp_path / ("x" * 5000)):
        verdict = checked(path)
        assert not verdict.usable


def test_thousands_of_small_files_are_read(tmp_path: Path) -> None:
    files = {f"docker_files/{n}/Dockerfile": b"FROM x" for n in range(3_000)}
    assert checked(packed(tmp_path / "x.son", {**GOOD, **files})).package is not None


def test_thousands_of_files_that_are_not_there_are_counted_not_searched_for(tmp_path: Path) -> None:
    listed = "".join(f"- {{name: /x{n}, content-type: text/plain}}\n" for n in range(20_000))
    verdict = checked(packed(tmp_path / "x.son", {**GOOD, MANIFEST: GOOD[MANIFEST] + listed.encode()}))
    assert verdict.package is not None
    assert len(verdict.findings) == MOST_FINDINGS + 1
    assert "more than these" in verdict.findings[-1].message

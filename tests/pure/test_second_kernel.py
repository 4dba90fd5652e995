"""What `make test-kernel` does before and around its guest; the guest itself is `tests/kernel`."""

from __future__ import annotations

import lzma
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.kernel import guest, package, run
from scripts.kernel.initramfs import initramfs, module_content, module_files

DEPENDS = """linux-image-amd64
  Depends: linux-image-6.1.0-56-amd64
"""


def files_of(archive: bytes) -> dict[str, bytes]:
    """A cpio archive read again: names with their contents."""
    found: dict[str, bytes] = {}
    place = 0
    while True:
        assert archive[place : place + 6] == b"070701"
        fields = [int(archive[place + 6 + 8 * n : place + 14 + 8 * n], 16) for n in range(13)]
        size, length = fields[6], fields[11]
        name = archive[place + 110 : place + 110 + length - 1].decode()
        start = place + (110 + length + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = archive[start : start + size]
        place = start + (size + 3) // 4 * 4


def test_an_initramfs_has_what_was_put_into_it() -> None:
    modules = {"virtio.ko": b"12345", "9p.ko": b"6"}
    found = files_of(initramfs(b"busybox", b"#!init", modules, {"job": "/tmp/a b"}))
    assert found["bin/busybox"] == b"busybox"
    assert found["init"] == b"#!init"
    assert found["modules/virtio.ko"] == b"12345"
    assert found["modules/order"] == b"virtio.ko\n9p.ko\n"
    assert found["job"] == b"/tmp/a b\n"
    assert found["machine"] == b""


def test_modules_are_read_from_what_modprobe_says(tmp_path: Path) -> None:
    said = "insmod /a b/virtio.ko \nbuiltin crc\ninsmod /k/9p.ko.xz debug=1\n"
    assert module_files(said) == [Path("/a b/virtio.ko"), Path("/k/9p.ko.xz")]
    packed, plain = tmp_path / "9p.ko.xz", tmp_path / "9p.ko"
    packed.write_bytes(lzma.compress(b"module"))
    plain.write_bytes(b"module")
    assert module_content(packed) == module_content(plain) == b"module"


def test_the_kernels_package_and_version_are_apts() -> None:
    assert package.named_in(DEPENDS) == "linux-image-6.1.0-56-amd64"
    assert package.named_in("E: No packages found") is None
    assert package.version_in("Package: x\nVersion: 6.1.192-2\n") == "6.1.192-2"


def test_without_a_package_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(package.CannotRun, match="no package linux-image-of-nobody"):
        package.kernel(tmp_path, "linux-image-of-nobody")


@pytest.mark.parametrize(("more", "status"), [((), run.CANNOT_RUN), (("--may-be-missing",), 0)])
def test_what_cannot_run_is_said_and_has_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], status: int
) -> None:
    monkeypatch.setitem(run.NEEDED, "qemu-of-nobody", "qemu-system-nobody")
    assert run.main([*more, "true"]) == status
    said = capsys.readouterr().err
    assert said.startswith("test-kernel: cannot run here")
    assert "qemu-system-nobody" in said


def test_output_is_passed_on_until_it_ends(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    argv = [sys.executable, "-c", "print('one'); print('two')"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert guest.pass_on(process, time.monotonic() + 20)
    assert capfdbinary.readouterr().out == b"one\ntwo\n"


def test_a_guest_that_takes_too_long_is_ended() -> None:
    with subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE) as process:
        assert not guest.pass_on(process, time.monotonic() + 0.05)
        process.kill()


def test_a_written_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "sudoers"
    kept.write_text("root ALL")
    monkeypatch.setattr(guest, "_WATCHED", (str(kept), str(tmp_path / "none")))
    before = guest.watched()
    assert guest.watched() == before
    kept.write_text("")
    assert guest.watched() != before

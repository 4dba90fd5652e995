"""A command run on another kernel: QEMU boots it on the machine's own files, which it cannot write.

Without KVM, so that it runs in virtual machines too, and slowly. Four serial ports: the kernel's
console, what the command writes, its exit status, its results.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.kernel.initramfs import initramfs, module_content, module_files
from scripts.kernel.package import Kernel

HERE = Path(__file__).resolve().parent
_DRIVERS = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
_CANARY = "written-by-the-guest"
# What a guest's start-up likes to write; on a root that it could write, this is what was lost.
_WATCHED = ("/etc/sudoers", "/etc/fstab", "/etc/passwd", "/etc/shadow", "/etc/hosts")


class GuestFailed(Exception):
    """The guest did not say how its command ended: it did not boot, broke down, or took too long."""


class MachineTouched(Exception):
    """The guest has written to the machine's own files."""


@dataclass(frozen=True)
class Guest:
    """What is booted, within which limits, and the file for what its command writes to /dev/ttyS3."""

    kernel: Kernel
    seconds: float
    cpus: int = 2
    memory: str = "4G"
    docker: bool = True
    results: Path | None = None

    def run(self, argv: Sequence[str], cwd: Path, job: Path) -> int:
        """The command's exit status; its output goes to our own, live. `job` is an empty folder.

        Raises GuestFailed and MachineTouched.
        """
        self._write_job(argv, cwd, job)
        before = watched()
        try:
            self._boot(job)
        finally:
            changed = sorted(path for path, state in watched().items() if state != before[path])
            if (job / _CANARY).exists():
                changed.append(str(job / _CANARY))
        if changed:
            raise MachineTouched(f"changed on this machine while the guest ran: {', '.join(changed)}")
        verdict = (job / "verdict").read_text().strip()
        if not verdict.startswith("ended with "):
            raise GuestFailed(f"the guest ended without a verdict{_last_lines(job / 'console')}")
        return int(verdict.removeprefix("ended with "))

    def _write_job(self, argv: Sequence[str], cwd: Path, job: Path) -> None:
        (job / "argv").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in argv))
        (job / "cwd").write_bytes(os.fsencode(cwd) + b"\0")
        (job / "modules").write_text(str(self.kernel.modules))
        if self.docker:
            (job / "docker").touch()
        listing = "".join(self._depends(driver) for driver in _DRIVERS)
        modules = {path.name.removesuffix(".xz"): module_content(path) for path in module_files(listing)}
        words = {"script": str(HERE / "guest.sh"), "job": str(job)}
        content = initramfs(find("busybox").read_bytes(), (HERE / "init.sh").read_bytes(), modules, words)
        (job / "initramfs").write_bytes(content)

    def _depends(self, driver: str) -> str:
        argv: list[str | Path] = [
            find("modprobe"),
            "-d",
            self.kernel.root,
            "-S",
            self.kernel.release,
            "--show-depends",
            driver,
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return done.stdout

    def _boot(self, job: Path) -> None:
        argv = [str(word) for word in self._qemu(job)]
        deadline = time.monotonic() + self.seconds
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            try:
                if not pass_on(process, deadline):
                    said = _last_lines(job / "console")
                    raise GuestFailed(f"ended after {self.seconds:.0f} s, the most it may take{said}")
            finally:
                process.kill()

    def _qemu(self, job: Path) -> list[str | Path]:
        words = "console=ttyS0 loglevel=4 panic=-1 mitigations=off no_timer_check rcupdate.rcu_expedited=1"
        root = "local,id=machine,path=/,security_model=none,readonly=on,multidevs=remap"
        results = self.results or "/dev/null"
        return [
            # Whatever ends us, ends it.
            *(find("setpriv"), "--pdeathsig", "KILL", find("qemu-system-x86_64")),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(self.cpus), "-m", self.memory),
            *("-kernel", self.kernel.image, "-initrd", job / "initramfs", "-append", words),
            *("-fsdev", root, "-device", "virtio-9p-pci,fsdev=machine,mount_tag=machine"),
            *("-serial", f"file:{job / 'console'}", "-serial", "stdio"),
            *("-serial", f"file:{job / 'verdict'}", "-serial", f"file:{results}"),
        ]


def pass_on(process: subprocess.Popen[bytes], deadline: float) -> bool:
    """Write what the process writes until it ends; False if that is not before the deadline."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(deadline - time.monotonic(), 0)):
            data = os.read(process.stdout.fileno(), 2**16)
            if not data:
                return True
            sys.stdout.buffer.write(data)
            sys.stdout.flush()
    return False


def find(program: str) -> Path:
    """Where a program lies; /usr/sbin is looked into even if it is not in PATH."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/sbin"]
    for folder in filter(None, folders):
        path = Path(folder, program)
        if os.access(path, os.X_OK) and path.is_file():
            return path
    raise FileNotFoundError(program)


def watched() -> dict[str, tuple[int, ...]]:
    """What would change if one of these files were written or replaced."""
    states: dict[str, tuple[int, ...]] = {}
    for path in _WATCHED:
        try:
            state = os.stat(path)
        except FileNotFoundError:
            states[path] = ()
        else:
            states[path] = (state.st_ino, state.st_size, state.st_mtime_ns, state.st_mode, state.st_uid)
    return states


def _last_lines(console: Path) -> str:
    lines = console.read_text(errors="replace").splitlines() if console.exists() else []
    return "".join(f"\n    {line}" for line in ["; its console ended with:", *lines[-15:]]) if lines else ""

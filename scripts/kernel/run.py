"""`make test-kernel`: the tests marked `kernel`, on a stock Debian kernel.

    python3 -m scripts.kernel.run                                        the tests marked `kernel`
    python3 -m scripts.kernel.run -- .venv/bin/python -m benchmarks.relay    any command of the clone

The exit status is the command's; 77 where this machine cannot run it (0 with --may-be-missing, which says so
all the same), 3 where the guest broke down, took too long, or has written to the machine's own files.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.kernel.guest import Guest, GuestFailed, MachineTouched, find
from scripts.kernel.package import META_PACKAGE, CannotRun, cache_folder, kernel

ROOT = Path(__file__).resolve().parents[2]
CANNOT_RUN, BROKEN = 77, 3
# Program -> Debian's package.
NEEDED = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "modprobe": "kmod",
    "depmod": "kmod",
    "setpriv": "util-linux",
}
PYTEST = (
    "-m",
    "kernel and not reference",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-p",
    "no:hypothesispytest",
)
# The folders in which tests are marked; the last has only such tests. Neither needs Docker to be collected.
FOLDERS = ("tests/links", "tests/kernel")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="test-kernel", description="tests on a stock Debian kernel")
    parser.add_argument("--seconds", type=float, default=900, help="the guest is ended after so long (900)")
    parser.add_argument("--cpus", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--package", default=META_PACKAGE, help="the kernel's meta package")
    parser.add_argument("--results", type=Path, help="a file for what the command writes to /dev/ttyS3")
    parser.add_argument("--no-docker", action="store_true", help="do not start dockerd in the guest")
    parser.add_argument("--may-be-missing", action="store_true", help="0 where this machine cannot run it")
    parser.add_argument("command", nargs="*", help="what to run instead of the tests marked `kernel`")
    options = parser.parse_args(arguments)
    try:
        check_machine()
        chosen = kernel(cache_folder(), options.package)
        command = options.command or tests_marked()
    except CannotRun as reason:
        print(f"test-kernel: cannot run here, no second kernel was tested: {reason}", file=sys.stderr)
        return 0 if options.may_be_missing else CANNOT_RUN
    print(f"test-kernel: {chosen.release} under QEMU, beside this machine's {platform.release()}", flush=True)
    guest = Guest(
        chosen, options.seconds, options.cpus, docker=not options.no_docker, results=options.results
    )
    begun = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="sonemu-kernel-") as job:
            status = guest.run(
                ["env", f"SONEMU_MACHINE_KERNEL={platform.release()}", *command], ROOT, Path(job)
            )
    except (GuestFailed, MachineTouched) as error:
        print(f"test-kernel: {error}", file=sys.stderr)
        return BROKEN
    print(f"test-kernel: {chosen.release} ended with {status} after {time.monotonic() - begun:.0f} s")
    return status


def check_machine() -> None:
    """Raises CannotRun with all that is missing."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise CannotRun(f"the guest shares this machine's programs, and they are for {platform.machine()}")
    missing = set()
    for program, package in NEEDED.items():
        try:
            find(program)
        except FileNotFoundError:
            missing.add(package)
    if (
        not missing
        and subprocess.run(["ldd", find("busybox")], capture_output=True, check=False).returncode == 0
    ):
        missing.add("busybox-static")  # one that needs libraries cannot be a guest's first program
    if missing:
        raise CannotRun(f"apt-get install {' '.join(sorted(missing))} (or: scripts/setup kernel)")


def tests_marked() -> list[str]:
    """The guest's pytest, with the files that have a marked test: it would take a minute to look for them."""
    python = str(ROOT / ".venv" / "bin" / "python")
    if not Path(python).exists():
        raise CannotRun(f"there is no {python} (make venv)")
    collect = [
        python,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "--no-header",
        "--no-summary",
        *PYTEST[:4],
        *FOLDERS,
    ]
    done = subprocess.run(collect, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.stdout.write(done.stdout + done.stderr)
        raise SystemExit(done.returncode)
    files = dict.fromkeys(line.split("::")[0] for line in done.stdout.splitlines() if "::" in line)
    return [python, "-m", "pytest", *PYTEST, *files]


if __name__ == "__main__":
    sys.exit(main())

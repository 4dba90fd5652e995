"""A thin shim: the metadata is in pyproject.toml; here the C parts are compiled into wheels and installs.

These are the hold, without which no VNF starts, and the relay's core, without which the relay runs in Python.
`python3 setup.py hold` and `python3 setup.py core` compile them beside their sources and need nothing but a C
compiler; `python3 setup.py core FILE FLAG...` makes another core, such as one with sanitizers.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path("pytest_sonemu/emulation/hold.c")
PROGRAM = SOURCE.with_suffix("")
FLAGS = ["-std=gnu11", "-static", "-O2", "-s", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
CORE_SOURCES = Path("pytest_sonemu/relay/native")
CORE = Path("pytest_sonemu/relay/libcore.so")
# Without contraction: a fused multiply-add would round otherwise than Python does.
CORE_FLAGS = ["-std=gnu11", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread", "-O2"]
CORE_FLAGS += ["-ffp-contract=off", "-fno-math-errno"]
CORE_FLAGS += ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def compile_hold(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["cc", *FLAGS, "-o", str(target), str(SOURCE)], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(
            f"cannot compile {SOURCE} ({error}); it needs a C compiler and a static libc: "
            "apt-get install gcc libc6-dev"
        ) from error
    target.chmod(0o755)


def compile_core(target: Path, flags: Sequence[str] = ()) -> bool:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        sources = sorted(str(source) for source in CORE_SOURCES.glob("*.c"))
        subprocess.run(["cc", *CORE_FLAGS, *flags, "-o", str(target), *sources, "-lm"], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"cannot compile {CORE_SOURCES} ({error}): relayed links will run in Python", file=sys.stderr)
        return False
    return True


if sys.argv[1:] == ["hold"]:
    compile_hold(PROGRAM)
    raise SystemExit
if sys.argv[1:2] == ["core"]:
    other, *more = sys.argv[2:] or [str(CORE)]
    raise SystemExit(not compile_core(Path(other), more))

from setuptools import Distribution, setup  # noqa: E402
from setuptools.command.bdist_wheel import bdist_wheel  # noqa: E402
from setuptools.command.build_py import build_py  # noqa: E402

HAS_HOLD = sys.platform == "linux"  # elsewhere packages can be checked and planned, not run


class BuildPy(build_py):
    """Adds the C parts: to the wheel, or beside their sources for an editable install."""

    def run(self):
        super().run()
        if HAS_HOLD:
            target = Path() if self.editable_mode else Path(self.build_lib)
            compile_hold(target / PROGRAM)
            compile_core(target / CORE)


class BdistWheel(bdist_wheel):
    """The C parts are for one kind of machine, but for no Python version in particular."""

    def get_tag(self):
        _, _, platform = super().get_tag()
        return "py3", "none", platform


class PlatformDistribution(Distribution):
    def has_ext_modules(self):
        return HAS_HOLD


setup(cmdclass={"build_py": BuildPy, "bdist_wheel": BdistWheel}, distclass=PlatformDistribution)

"""A thin shim: the metadata is in pyproject.toml; here the hold is compiled into wheels and installs.

`python3 setup.py hold` compiles it beside its source and needs nothing but a C compiler.
"""

import subprocess
import sys
from pathlib import Path

SOURCE = Path("pytest_sonemu/emulation/hold.c")
PROGRAM = SOURCE.with_suffix("")
FLAGS = ["-std=gnu11", "-static", "-O2", "-s", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]


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


if sys.argv[1:] == ["hold"]:
    compile_hold(PROGRAM)
    raise SystemExit

from setuptools import Distribution, setup  # noqa: E402
from setuptools.command.bdist_wheel import bdist_wheel  # noqa: E402
from setuptools.command.build_py import build_py  # noqa: E402

HAS_HOLD = sys.platform == "linux"  # elsewhere packages can be checked and planned, not run


class BuildPy(build_py):
    """Adds the hold: to the wheel, or beside its source for an editable install."""

    def run(self):
        super().run()
        if HAS_HOLD:
            compile_hold(PROGRAM if self.editable_mode else Path(self.build_lib, PROGRAM))


class BdistWheel(bdist_wheel):
    """The hold is a program for one kind of machine, but for no Python version in particular."""

    def get_tag(self):
        _, _, platform = super().get_tag()
        return "py3", "none", platform


class PlatformDistribution(Distribution):
    def has_ext_modules(self):
        return HAS_HOLD


setup(cmdclass={"build_py": BuildPy, "bdist_wheel": BdistWheel}, distclass=PlatformDistribution)

"""The transcripts in http-api.md, made by running them: this script writes them anew.

In a `console` block a line that begins with `$ ` is a command, the lines below it are what it printed.
What differs from run to run (uuids, the port, sums) is shown by the same stand-ins each time, and a
stand-in in a command means what it stood for before.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pytest_sonemu.descriptors.pack import pack

HERE = Path(__file__).parent
PAGE = HERE / "http-api.md"
PROJECT = HERE.parent / "example_packages" / "firewall"
SONEMU = [sys.executable, "-c", "from pytest_sonemu.cli import main; main()"]
# Another one of that name may be up.
BED = f"docs-{os.getpid()}"
URL = "http://127.0.0.1:5000"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
SUM = re.compile(r'"sha1":"[0-9a-f]{40}"')
SIZE = re.compile(r'"size":\d+')
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


class Shell:
    """Runs the commands of the page in a folder, one `sonemu up` behind them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = URL
        self.uuids: dict[str, str] = {}
        self.behind: subprocess.Popen[str] | None = None

    def run(self, command: str) -> str:
        """What a command prints, with stand-ins."""
        text = self._meant(command)
        if text.endswith(" &"):
            return self._shown(self._start(text.removesuffix(" &")))
        done = subprocess.run(
            self._argv(text),
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return self._shown(done.stdout + done.stderr)

    def _start(self, text: str) -> str:
        self.behind = subprocess.Popen(
            [*self._argv(text), "--port", "0"],
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.behind.stdout is not None
        line = self.behind.stdout.readline()
        found = re.search(r"http://[\d.]+:\d+", line)
        if found is None:
            raise SystemExit(f"sonemu up said {line!r}")
        self.url = found[0]
        return line

    def end(self) -> None:
        """End what runs behind, if the page has not."""
        if self.behind is None:
            return
        try:
            self.behind.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.behind.terminate()
            self.behind.communicate(timeout=20)

    @staticmethod
    def _argv(text: str) -> list[str]:
        words = shlex.split(text)
        return [*SONEMU, *words[1:]] if words[0] == "sonemu" else words

    @staticmethod
    def _environment() -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(HERE.parent)}

    def _meant(self, text: str) -> str:
        for real, stand_in in self.uuids.items():
            text = text.replace(stand_in, real)
        return re.sub(r"\bdemo\b", BED, text).replace(URL, self.url)

    def _shown(self, text: str) -> str:
        for real in UUID.findall(text):
            digit = len(self.uuids) + 1
            self.uuids.setdefault(real, re.sub("x", str(digit), "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx"))
        for real, stand_in in self.uuids.items():
            text = text.replace(real, stand_in)
        text = SUM.sub(f'"sha1":"{"0123456789" * 4}"', text)
        return SIZE.sub('"size":4711', text).replace(self.url, URL).replace(BED, "demo")


def page_made_anew(page: str) -> str:
    """The page with every command run and what it printed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "firewall.son").write_bytes(pack(PROJECT))
        (folder / "two-pops.yml").write_bytes((PROJECT / "two-pops.yml").read_bytes())
        shell = Shell(folder)
        try:
            return BLOCK.sub(lambda block: "```console\n" + "".join(_lines(shell, block[1])) + "```", page)
        finally:
            shell.end()


def _lines(shell: Shell, block: str) -> Iterator[str]:
    for line in block.splitlines():
        if line.startswith("$ "):
            yield f"{line}\n"
            yield shell.run(line[2:])


if __name__ == "__main__":
    PAGE.write_text(page_made_anew(PAGE.read_text()))

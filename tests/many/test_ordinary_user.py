"""An ordinary user in group docker, with passwordless sudo, has it all: set-up, examples, nothing left."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_sonemu.emulation import places

PROJECT = Path(__file__).parents[2]
USER = f"sonemu-{os.getpid()}"


class OrdinaryUser:
    """A user of this machine, made for this module, with a copy of the project."""

    def __init__(self, name: str) -> None:
        self.name = name
        entry = pwd.getpwnam(name)
        self.uid, self.home = entry.pw_uid, Path(entry.pw_dir)
        self.project = self.home / "project"

    def run(self, *argv: str, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run a command in the project as a login of this user would."""
        return subprocess.run(
            ["sudo", "-n", "-H", "-u", self.name, "--", *argv],
            cwd=self.project,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@pytest.fixture(scope="module")
def user() -> Iterator[OrdinaryUser]:
    if os.geteuid() != 0:
        pytest.skip("only root can make another user; for everybody else the whole suite is this proof")
    subprocess.run(["useradd", "-m", "-s", "/bin/bash", "-G", "docker", USER], check=True)
    sudoers = Path("/etc/sudoers.d", USER)
    sudoers.write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
    sudoers.chmod(0o440)
    try:
        made = OrdinaryUser(USER)
        copy_project(made.project)
        subprocess.run(["chown", "-R", f"{USER}:", str(made.project)], check=True)
        done = made.run("env", "YES=1", f"PYTHON={python_for_all()}", "make", "setup")
        assert done.returncode == 0, done.stdout + done.stderr
        yield made
    finally:
        sudoers.unlink()
        subprocess.run(["userdel", "-r", USER], check=True, capture_output=True)


def copy_project(target: Path) -> None:
    """What a clone would hold, with what is not committed yet."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=PROJECT, capture_output=True, check=True).stdout.split(b"\0")
    for name in filter(None, map(os.fsdecode, names)):
        if (PROJECT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, target / name)


def python_for_all() -> str:
    """A Python that others may run: root's own may lie in a home that is closed to them."""
    for candidate in ("/usr/bin/python3", shutil.which("python3")):
        if candidate is not None and Path(candidate).exists():
            return candidate
    pytest.skip("there is no Python outside root's home")


def test_the_user_is_in_group_docker(user: OrdinaryUser) -> None:
    assert user.name in grp.getgrnam("docker").gr_mem


def test_plain_pytest_runs_the_examples(user: OrdinaryUser) -> None:
    done = user.run(".venv/bin/pytest", "-q", "-rA", "example_packages")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout.splitlines()[-1]


def test_a_keeper_of_root_serves_its_user_alone(user: OrdinaryUser) -> None:
    script = (
        "import os, pathlib\n"
        "from pytest_sonemu import TestBed\n"
        "with TestBed() as bed:\n"
        "    print(bed.run_dir, pathlib.Path(f'/proc/{bed.keeper_pid}').stat().st_uid)\n"
        "    print(oct(bed.run_dir.stat().st_mode & 0o777), bed.run_dir.stat().st_uid)\n"
    )
    done = user.run(".venv/bin/python", "-c", script)
    assert done.returncode == 0, done.stdout + done.stderr
    where, keeper_uid, mode, owner = done.stdout.split()
    assert Path(where).parent == places.RUN_ROOT / str(user.uid)
    assert (keeper_uid, mode, owner) == ("0", "0o700", str(user.uid))


def test_a_replay_needs_no_rights(user: OrdinaryUser) -> None:
    script = (
        "from pytest_sonemu import NetworkService, TestBed\n"
        "sides = {'192.0.2.1': 'a', '192.0.2.80': 'b'}\n"
        "with TestBed() as bed:\n"
        "    service = bed.start(NetworkService.of('line', [], {'line': ['a', 'b']}))\n"
        "    with service.sap('b').capture(filter='tcp') as capture:\n"
        "        result = service.replay('docs/how_to/harmless.pcap', sides, speed='max')\n"
        "print(len(result.lost), len(result.packets), len(capture))\n"
    )
    done = user.run(".venv/bin/python", "-c", script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["0", "8", "8"]


def test_a_running_service_is_changed_and_recorded_without_rights(user: OrdinaryUser) -> None:
    """A host and a tap join a LAN, a recording is replayed over it, and what the tap saw is written."""
    script = (
        "from pathlib import Path\n"
        "from pytest_sonemu import NetworkService, TestBed\n"
        "sides = {'192.0.2.1': 'a', '192.0.2.80': 'late'}\n"
        "with TestBed() as bed:\n"
        "    service = bed.start(NetworkService.of('lan', [], {}, lans={'lan': ['a', 'b']}))\n"
        "    lan = service.link('lan')\n"
        "    late = bed.host('late', on=lan)\n"
        "    ids = bed.container('ids', image='sonemu/vnf-base', tap=lan)\n"
        "    print(late.ping('a').loss, late.run('ip', 'addr').exit_status, ids.exec('true').exit_status)\n"
        "    with ids.capture(filter='tcp') as copied:\n"
        "        result = service.replay('docs/how_to/harmless.pcap', sides, speed='max')\n"
        "        copied.wait_for('tcp', count=8)\n"
        "    written = copied.save(Path.home() / 'tap.pcap')\n"
        "    print(len(result.lost), len(copied), written.stat().st_uid)\n"
    )
    done = user.run(".venv/bin/python", "-c", script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["0.0", "0", "0", "0", "8", str(user.uid)]


def test_nothing_in_the_project_belongs_to_root(user: OrdinaryUser) -> None:
    strangers = [path for path in user.home.rglob("*") if path.lstat().st_uid != user.uid]
    assert strangers == []


def test_no_run_directory_is_left(user: OrdinaryUser) -> None:
    folder = places.RUN_ROOT / str(user.uid)
    assert not folder.exists() or list(folder.iterdir()) == []

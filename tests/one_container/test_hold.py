"""The hold, as a process of ours where that is enough, and as pid 1 of containers."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from docker import APIClient

from pytest_sonemu.emulation.base_image import ensure_base_image
from pytest_sonemu.emulation.hold_program import hold_path

TIMEOUT = 20.0
Held = subprocess.Popen[str]
Hold = Callable[..., Held]


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {TIMEOUT} s"
        time.sleep(0.01)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    folder = tmp_path / "hold"
    folder.mkdir(mode=0o755)
    path = folder / "fifo"
    os.mkfifo(path)
    path.chmod(0o644)
    return path


@pytest.fixture
def gate(fifo: Path) -> Iterator[int]:
    """The keeper's end: opened for both directions, a release neither blocks nor meets ENXIO."""
    descriptor = os.open(fifo, os.O_RDWR)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def hold(fifo: Path) -> Iterator[Hold]:
    with ExitStack() as stack:

        def start(*argv: str, **options: Any) -> Held:
            process = subprocess.Popen(
                [hold_path(), fifo, *argv],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                **options,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            until(lambda: reads_fifo(process.pid, fifo), "the hold reads its FIFO")
            return process

        yield start


def reads_fifo(pid: int, fifo: Path) -> bool:
    folder = Path(f"/proc/{pid}/fd")
    return any(entry.resolve() == fifo for entry in folder.iterdir()) and state(pid) == "S"


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_nothing_runs_before_the_release_and_then_in_the_same_process(gate: int, hold: Hold) -> None:
    process = hold("/bin/sh", "-c", 'echo $$ "$0" "$@"', "zero", "a b", "--wait")
    assert Path(f"/proc/{process.pid}/exe").resolve() == hold_path()
    os.write(gate, b"g")
    out, err = process.communicate(timeout=TIMEOUT)
    assert (out, err, process.returncode) == (f"{process.pid} zero a b --wait\n", "", 0)


def test_the_command_is_searched_for_in_path_and_sees_neither_fifo_nor_handlers(
    gate: int, hold: Hold, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    program = tmp_path / "two" / "mine"
    program.write_text(
        "#!/bin/sh\nset -- /proc/$$/fd/*\necho $#; grep SigCgt /proc/$$/status; grep SigIgn /proc/$$/status\n"
    )
    program.chmod(0o755)
    process = hold("mine", env={"PATH": f"{tmp_path}/one:{tmp_path}/two:/usr/bin:/bin"})
    os.write(gate, b"g")
    out, err = process.communicate(timeout=TIMEOUT)
    bare = subprocess.run([program], capture_output=True, text=True, check=True, timeout=TIMEOUT)
    assert (out, err) == (bare.stdout, "")


@pytest.mark.parametrize("name", ["script", "./script"])
def test_a_file_without_a_format_is_named_and_never_interpreted(
    gate: int, hold: Hold, tmp_path: Path, name: str
) -> None:
    script = tmp_path / "script"
    script.write_text("touch interpreted\n")
    script.chmod(0o755)
    process = hold(name, cwd=tmp_path, env={"PATH": f"{tmp_path}:/bin"})
    os.write(gate, b"g")
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 126
    assert err.startswith("hold: ")
    assert "script: neither a program for this machine nor a script with a #! line" in err
    assert not (tmp_path / "interpreted").exists()


@pytest.mark.parametrize(
    ("name", "content", "mode", "status", "says"),
    [
        ("absent", None, 0, 127, "No such file"),
        ("lost", "#!/no/such/interpreter\n", 0o755, 127, "interpreter"),
        ("locked", "#!/bin/sh\n", 0o644, 126, "Permission denied"),
    ],
)
@pytest.mark.parametrize("by_path", [True, False])
def test_what_cannot_run_is_named_with_its_status(
    gate: int,
    hold: Hold,
    tmp_path: Path,
    name: str,
    content: str | None,
    mode: int,
    status: int,
    says: str,
    by_path: bool,
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(mode)
    process = hold(str(tmp_path / name) if by_path else name, env={"PATH": f"{tmp_path}:/bin"})
    os.write(gate, b"g")
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == status
    assert f"{name}: " in err
    assert says in err


def test_a_keeper_that_is_gone_ends_the_hold(fifo: Path, hold: Hold) -> None:
    gate = os.open(fifo, os.O_RDWR)
    process = hold("/bin/true")
    os.close(gate)
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 125
    assert "closed before the release" in err


# -- as pid 1 of a container -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client() -> Iterator[APIClient]:
    client = APIClient(version="auto")
    yield client
    client.close()


@pytest.fixture(scope="module")
def base_image(client: APIClient) -> str:
    return ensure_base_image(client)


@pytest.fixture
def container(client: APIClient, fifo: Path) -> Iterator[Callable[..., str]]:
    """Starts a container whose pid 1 is the hold, as the keeper does."""
    made: list[str] = []

    def start(image: str, argv: Sequence[str], user: str = "", **host_options: Any) -> str:
        answer = client.create_container(
            image,
            entrypoint=["/.sonemu/hold", "/.sonemu-gate/fifo", *argv],
            command=[],
            user=user,
            stdin_open=True,
            network_disabled=True,
            labels={"sonemu.test": "hold"},
            host_config=client.create_host_config(
                binds=[f"{hold_path()}:/.sonemu/hold:ro", f"{fifo.parent}:/.sonemu-gate:ro"], **host_options
            ),
        )
        made.append(answer["Id"])
        client.start(answer["Id"])
        return str(answer["Id"])

    yield start
    for each in made:
        client.remove_container(each, force=True)


def pid_of(client: APIClient, container: str) -> int:
    return int(client.inspect_container(container)["State"]["Pid"])


def test_the_images_own_command_becomes_pid_1_whatever_the_user(
    client: APIClient, base_image: str, gate: int, container: Callable[..., str]
) -> None:
    argv = ["sh", "-c", "echo pid $$ in $PWD as $(id -u); exec sleep 77"]
    started = container(base_image, argv, user="65534", read_only=True, security_opt=["no-new-privileges"])
    assert client.logs(started) == b""
    os.write(gate, b"g")
    until(lambda: client.logs(started) == b"pid 1 in /root as 65534\n", "the command runs")
    pid = pid_of(client, started)
    until(lambda: b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes(), "pid 1 is the image's own sleep")
    assert "exec" not in Path(f"/proc/{pid}/comm").read_text()


def test_a_shell_stays_alive(
    client: APIClient, base_image: str, gate: int, container: Callable[..., str]
) -> None:
    started = container(base_image, client.inspect_image(base_image)["Config"]["Cmd"])
    os.write(gate, b"g")
    pid = pid_of(client, started)
    until(lambda: Path(f"/proc/{pid}/comm").read_text() == "bash\n", "bash is pid 1")
    until(lambda: state(pid) == "S", "bash waits for its standard input")
    assert client.inspect_container(started)["State"]["Running"]


@pytest.mark.parametrize(("argv", "release"), [(["sleep", "77"], False), (["--wait"], True)])
def test_sigterm_ends_it_at_once(
    client: APIClient,
    base_image: str,
    gate: int,
    fifo: Path,
    container: Callable[..., str],
    argv: list[str],
    release: bool,
) -> None:
    started = container(base_image, argv)
    if release:
        os.write(gate, b"g")
        pid = pid_of(client, started)
        until(lambda: ignores_children(pid), "the hold waits as pid 1")
    else:
        pid = pid_of(client, started)
        until(lambda: catches_sigterm(pid), "the hold has its handlers")
    asked = time.monotonic()
    client.kill(started, signal=signal.SIGTERM)
    assert client.wait(started, timeout=int(TIMEOUT))["StatusCode"] == 143
    assert time.monotonic() - asked < 5


def test_waiting_it_reaps_children_and_orphans(
    client: APIClient, base_image: str, gate: int, container: Callable[..., str]
) -> None:
    started = container(base_image, ["--wait"])
    os.write(gate, b"g")
    pid = pid_of(client, started)
    until(lambda: ignores_children(pid), "the hold waits as pid 1")
    command = client.exec_create(started, ["sh", "-c", "for n in 1 2 3; do sleep 0.2 & done"])
    assert client.exec_start(command["Id"]) == b""
    # `top` lists zombies too: once the orphaned sleeps have ended, nothing but pid 1 may be left.
    until(lambda: len(client.top(started)["Processes"]) == 1, "all orphans are reaped")
    assert client.inspect_container(started)["State"]["Running"]


def test_it_needs_nothing_of_the_image(
    client: APIClient, gate: int, container: Callable[..., str], tmp_path: Path
) -> None:
    """An image that holds one static program and nothing else: no loader, no libc, no shell."""
    reference = f"sonemu-test-hold:{uuid.uuid4().hex[:12]}"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(hold_path(), arcname="app")
    repository, _, tag = reference.partition(":")
    client.import_image_from_data(archive.getvalue(), repository=repository, tag=tag)
    try:
        started = container(reference, ["/app"])
        os.write(gate, b"g")
        assert client.wait(started, timeout=int(TIMEOUT))["StatusCode"] == 125
        assert client.logs(started) == b"hold: usage: hold FIFO ARGV... | hold FIFO --wait\n"
        missing = container(reference, ["/bin/sh"])
        os.write(gate, b"g")
        assert client.wait(missing, timeout=int(TIMEOUT))["StatusCode"] == 127
        assert client.logs(missing) == b"hold: /bin/sh: No such file or directory\n"
    finally:
        client.remove_image(reference, force=True)


def signal_mask(pid: int, field: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(f"{field}:")), 16)


def catches_sigterm(pid: int) -> bool:
    return bool(signal_mask(pid, "SigCgt") & 1 << (signal.SIGTERM - 1))


def ignores_children(pid: int) -> bool:
    return bool(signal_mask(pid, "SigIgn") & 1 << (signal.SIGCHLD - 1))

"""What can be seen of a VNF from outside, to tell after a test whether it is as it was (ruling 20)."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from pytest_sonemu.emulation import inside, namespaces, netlink
from pytest_sonemu.emulation.containers import docker_step
from pytest_sonemu.emulation.readings import FileEntry, ProcessEntry
from pytest_sonemu.emulation.running import RunningEndpoint, RunningVnf

# Where programs write as they run.
VOLATILE = ("/tmp", "/run", "/var/run", "/var/log", "/var/cache", "/mnt/share")
# Mounted by us or by Docker.
_MOUNTED = ("/.sonemu", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev", "/proc", "/sys")
_PROGRAM_SECONDS = 10.0
_COUNTERS = re.compile(r" ?\[\d+:\d+\]")
_LEGACY = {"ip_tables_names": "iptables-legacy-save", "ip6_tables_names": "ip6tables-legacy-save"}


def rules(endpoint: RunningEndpoint) -> str:
    """The rule sets of an endpoint's namespace as text without counters, nft's and legacy ones."""
    if endpoint.namespace is None:
        return ""

    def read() -> tuple[int, str, list[str]]:
        with contextlib.closing(netlink.open_socket(netlink.NETFILTER)) as sock:
            generation = netlink.rules_generation(sock)
        legacy = [program for names, program in _LEGACY.items() if _legacy_tables(names)]
        known, text = endpoint.known_rules
        if generation != known:
            text = (
                _run(["nft", "-s", "list", "ruleset"])
                if shutil.which("nft")
                else f"generation {generation}\n"
            )
        return generation, text, [_without_counters(_run([program])) for program in legacy]

    generation, text, legacy = namespaces.inside(endpoint.namespace, read)
    endpoint.known_rules = (generation, text)
    return "".join([text, *legacy])


def _legacy_tables(names: str) -> bool:
    with contextlib.suppress(OSError):
        return bool(Path("/proc/thread-self/net", names).read_text().strip())
    return False


def _run(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_PROGRAM_SECONDS, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout


def _without_counters(text: str) -> str:
    return "".join(
        f"{_COUNTERS.sub('', line)}\n" for line in text.splitlines() if line and not line.startswith("#")
    )


def files(vnf: RunningVnf, ignore: tuple[str, ...]) -> tuple[FileEntry, ...]:
    """What differs from the image: size, mode, times; `ignore` are folders or patterns besides the usual."""
    pid, _started = vnf.own_process
    ignored = (*VOLATILE, *_MOUNTED, *ignore)
    layers = _layers(pid) if pid else ()
    entries = _walk(layers) if layers else _asked_of_docker(vnf)
    return tuple(entry for entry in entries if not _is_below(entry.path, ignored))


def processes(vnf: RunningVnf) -> tuple[ProcessEntry, ...]:
    """The processes of a VNF, its first one included."""
    first, _started = vnf.own_process
    found = []
    for pid in inside.members(first) if first else ():
        fields = inside.stat_fields(pid)
        try:
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            executable = os.readlink(f"/proc/{pid}/exe")
        except OSError:
            continue
        if fields and fields[0] not in (b"Z", b"X"):
            words = tuple(word.decode(errors="replace") for word in argv)
            found.append(ProcessEntry(pid, int(fields[19]), int(fields[3]), executable, words))
    return tuple(found)


def _layers(pid: int) -> tuple[str, ...]:
    """The folders that make up a container's file system, its own first; none where it is made otherwise."""
    try:
        lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    except OSError:
        return ()
    for line in lines:
        before, _, after = line.partition(" - ")
        if before.split()[4] == "/" and after.startswith("overlay "):
            options = dict(option.partition("=")[::2] for option in after.split(" ", 2)[2].split(","))
            # The kernel shows no long list of lower layers, and Docker's are relative then.
            layers = [options.get("upperdir", ""), *options.get("lowerdir", "").split(":")]
            found = tuple(layer.replace("\\040", " ") for layer in layers)
            return found if all(os.path.isdir(layer) for layer in found) else ()
    return ()


def _walk(layers: tuple[str, ...]) -> Iterator[FileEntry]:
    """What the container's own layer has that the image has not, or has otherwise."""
    root, *lower = layers
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(os.scandir(f"{root}{folder}"))
        except OSError:
            continue  # it went away meanwhile
        for entry in entries:
            path = f"{folder}/{entry.name}"
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                base = _below(lower, path)
                mine = _entry(path, status, in_image=base is not None)
                # What was only opened for writing is copied up as it was.
                if base is None or _shape(_entry(path, base)) != _shape(mine):
                    yield mine
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(path)


def _below(lower: list[str], path: str) -> os.stat_result | None:
    for layer in lower:
        with contextlib.suppress(OSError):
            return os.lstat(f"{layer}{path}")
    return None


def _shape(entry: FileEntry) -> tuple[int, int, int]:
    return (entry.size, entry.mode, entry.changed)


def _asked_of_docker(vnf: RunningVnf) -> Iterator[FileEntry]:
    """Where there are no layers to look at: Docker's list of changed paths, each then looked at."""
    pid, _started = vnf.own_process
    with docker_step(f"compare the files of {vnf.container_plan.name}"):
        changes = vnf.containers.api.diff(vnf.container or "") or []
    for change in changes:
        path = str(change["Path"])
        if change["Kind"] == 2:
            yield FileEntry(path, -1, 0, 0, time.time_ns(), in_image=True)
        else:
            with contextlib.suppress(OSError):
                status = os.lstat(f"/proc/{pid}/root{path}")
                # Docker lists the folder of each file that has changed.
                if not (stat.S_ISDIR(status.st_mode) and change["Kind"] == 0):
                    yield _entry(path, status, in_image=change["Kind"] == 0)


def _entry(path: str, status: os.stat_result, *, in_image: bool = True) -> FileEntry:
    # An overlay marks what was removed by a device 0:0.
    removed = stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
    folder = stat.S_ISDIR(status.st_mode)
    return FileEntry(
        path=path,
        size=-1 if removed else 0 if folder else status.st_size,
        mode=0 if removed else status.st_mode,
        # A folder's own time changes with the files in it, which are compared themselves.
        changed=0 if removed or folder else status.st_mtime_ns,
        noted=status.st_ctime_ns,
        in_image=in_image,
    )


def _is_below(path: str, folders: tuple[str, ...]) -> bool:
    return any(
        path == folder or path.startswith(f"{folder.rstrip('/')}/") or fnmatchcase(path, folder)
        for folder in folders
    )

"""What a VNF uses and may use, read from its control groups (version 1 or 2) by /proc and /sys alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pytest_sonemu.errors import EmulationError
from pytest_sonemu.handles.results import one_line

# Version 1 writes "no limit" as the largest multiple of a page below 2**63.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True, slots=True, repr=False)
class Usage:
    """What a VNF has used since it was started.

    `cpu` and `throttled` in seconds (throttled: it stood because its quota was used up), `memory` in
    bytes without caches that the kernel can drop, `peak` with them, `processes` threads included,
    `oom_kills` processes that the kernel ended for want of memory.
    """

    cpu: float
    throttled: float
    memory: int
    peak: int
    processes: int
    oom_kills: int

    def __repr__(self) -> str:
        return one_line(
            f"<cpu {self.cpu:.3f} s, throttled {self.throttled:.3f} s; memory {self.memory / 2**20:.1f} MiB,"
            f" peak {self.peak / 2**20:.1f} MiB; {self.processes} processes, {self.oom_kills} OOM kills>"
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """What a VNF may use: `cpu` in cores, `memory` in bytes, `cpus` as the kernel writes them ("0-1")."""

    cpu: float | None
    memory: int | None
    cpus: str


class Groups:
    """The control groups of one process; `root` and `proc` are other folders in tests."""

    def __init__(self, pid: int, root: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")) -> None:
        self._root = root
        try:
            lines = (proc / str(pid) / "cgroup").read_text().splitlines()
        except OSError:
            raise EmulationError("it is not running: it has no control group") from None
        self._paths = {
            controller: path.lstrip("/")
            for _number, controllers, path in (line.split(":", 2) for line in lines)
            for controller in controllers.split(",")
        }

    @property
    def version(self) -> int:
        """1 where memory has a hierarchy of its own, as on hybrid systems too."""
        return 1 if "memory" in self._paths else 2

    def usage(self) -> Usage:
        if self.version == 1:
            stat = self._table("memory", "memory.stat")
            throttle = self._table("cpu", "cpu.stat")
            return Usage(
                cpu=self._number("cpuacct", "cpuacct.usage") / 1e9,
                throttled=throttle.get("throttled_time", 0) / 1e9,
                memory=self._number("memory", "memory.usage_in_bytes") - stat.get("total_inactive_file", 0),
                peak=self._number("memory", "memory.max_usage_in_bytes"),
                processes=self._number("pids", "pids.current"),
                oom_kills=self._table("memory", "memory.oom_control").get("oom_kill", 0),
            )
        cpu, stat = self._table("", "cpu.stat"), self._table("", "memory.stat")
        memory = self._number("", "memory.current")
        return Usage(
            cpu=cpu.get("usage_usec", 0) / 1e6,
            throttled=cpu.get("throttled_usec", 0) / 1e6,
            memory=memory - stat.get("inactive_file", 0),
            # Since Linux 5.19.
            peak=self._number("", "memory.peak", memory),
            processes=self._number("", "pids.current"),
            oom_kills=self._table("", "memory.events").get("oom_kill", 0),
        )

    def limits(self) -> Limits:
        if self.version == 1:
            quota = self._number("cpu", "cpu.cfs_quota_us", -1)
            period = self._number("cpu", "cpu.cfs_period_us", 100_000)
            memory = self._number("memory", "memory.limit_in_bytes", _NO_LIMIT)
            cpus = self._text("cpuset", "cpuset.cpus") or ""
        else:
            words = (self._text("", "cpu.max") or "max 100000").split()
            quota = -1 if words[0] == "max" else int(words[0])
            period = int(words[1])
            memory = self._number("", "memory.max", _NO_LIMIT)
            cpus = self._text("", "cpuset.cpus.effective") or ""
        return Limits(
            cpu=quota / period if quota > 0 else None,
            memory=memory if memory < _NO_LIMIT else None,
            cpus=cpus,
        )

    def _text(self, controller: str, name: str) -> str | None:
        try:
            return (self._root / controller / self._paths.get(controller, "") / name).read_text().strip()
        except OSError:
            return None  # a file that this kernel does not have

    def _number(self, controller: str, name: str, otherwise: int = 0) -> int:
        text = self._text(controller, name)
        return int(text) if text and text.lstrip("-").isdigit() else otherwise

    def _table(self, controller: str, name: str) -> dict[str, int]:
        rows = (line.split() for line in (self._text(controller, name) or "").splitlines())
        return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}

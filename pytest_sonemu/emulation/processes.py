"""Processes as the kernel knows them: told apart by pid and start time, ended through a pidfd."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if there is none. With the pid it is unique."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def alive(pid: int, started: int) -> bool:
    """Whether the process that had this pid and start time is still there."""
    return pid > 0 and start_time(pid) == started


def end_processes(
    processes: Iterable[tuple[int, int]], how: signal.Signals | None, timeout: float
) -> list[int]:
    """Signal processes (pid, start time) and wait until they are gone; returns the pids that are not.

    Without a signal (None) it only waits, which needs no right over them.
    """
    descriptors: dict[int, int] = {}
    try:
        for pid, started in processes:
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            # The pid may be someone else's by now: the descriptor settles who is meant.
            if start_time(pid) != started:
                os.close(descriptor)
                continue
            descriptors[descriptor] = pid
            if how is not None:
                send(descriptor, how)
        left = dict(descriptors)
        deadline = time.monotonic() + timeout
        poll = select.poll()
        for descriptor in left:
            poll.register(descriptor, select.POLLIN)
        while left and (remaining := deadline - time.monotonic()) > 0:
            for descriptor, _events in poll.poll(remaining * 1000):
                poll.unregister(descriptor)
                del left[descriptor]
        return list(left.values())
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def send(pidfd: int, how: signal.Signals) -> None:
    """Signal a process; one that is gone already is fine."""
    try:
        signal.pidfd_send_signal(pidfd, how)
    except ProcessLookupError:
        return

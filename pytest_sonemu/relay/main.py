"""The relay as a process: `python main.py LISTENER_FD [--engine auto|core|python]`.

It is started in the network namespace of the interfaces, inherits its listening socket, and ends when it is
told to, by a signal, or when its parent is gone.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import select
import socket
import sys
import time
from pathlib import Path
from typing import Any

from pytest_sonemu.relay.agenda import MOST_HELD
from pytest_sonemu.relay.control import Control
from pytest_sonemu.relay.core import CORE, CoreEngine
from pytest_sonemu.relay.engine import Engine

_PR_SET_TIMERSLACK = 29
_PRIORITY = 10
_SETTLING = 0.02


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="relay", description="carries frames over shaped links")
    parser.add_argument("listener", type=int, help="descriptor of the listening Unix socket")
    parser.add_argument("--parent", type=int, default=0, help="end when this process, our parent, is gone")
    parser.add_argument("--engine", choices=("auto", "core", "python"), default="auto")
    parser.add_argument("--core", type=Path, default=CORE, help="another build of the core")
    parser.add_argument("--no-shortcuts", action="store_true", help="carry also what nothing is done to")
    parser.add_argument("--ordinary", action="store_true", help="no real-time priority")
    parser.add_argument(
        "--most-held", type=int, default=MOST_HELD, help="bytes of memory for frames that wait"
    )
    options = parser.parse_args(arguments)
    libc = ctypes.CDLL(None, use_errno=True)
    parent = None
    if options.parent:
        # Not PR_SET_PDEATHSIG: that one fires when the thread that started us ends.
        parent = os.pidfd_open(options.parent)
        if os.getppid() != options.parent:
            return 1  # it was gone already
    libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    listener = socket.socket(fileno=options.listener)
    listener.setblocking(False)
    # Before any thread is started: all of them inherit it.
    realtime = not options.ordinary and take_priority()
    engine = make_engine(
        options.engine, options.core, shortcuts=not options.no_shortcuts, most_held=options.most_held
    )
    try:
        if isinstance(engine, Engine):
            run(engine, Control(engine, realtime), listener, parent)
        else:
            wait(engine, Control(engine, realtime), listener, parent)
    finally:
        engine.close()
    return 0


def make_engine(
    wanted: str, core: Path = CORE, *, shortcuts: bool = True, most_held: int = MOST_HELD
) -> Engine | CoreEngine:
    """The core where it was built, unless Python is asked for."""
    if wanted == "python":
        return Engine(most_held=most_held)
    try:
        return CoreEngine(core, shortcuts=shortcuts, most_held=most_held)
    except OSError:
        if wanted == "core":
            raise
        return Engine(most_held=most_held)


def take_priority() -> bool:
    """Run before ordinary processes, where we may: a delay is kept on a busy machine too."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    except OSError:
        return False
    return True


def run(engine: Engine, control: Control, listener: socket.socket, parent: int | None = None) -> None:
    """Until a `stop` comes or the process behind the pidfd `parent` is gone.

    By select: it counts time-outs in µs where Python's poll and epoll have ms.
    """
    always: list[Any] = [engine, listener] if parent is None else [engine, listener, parent]
    while not control.stopped:
        due = engine.due
        wait = None if due is None else max(due - time.monotonic_ns(), 0) / 1e9
        readable, writable, _ = select.select([*always, *control.connections], control.writers(), [], wait)
        if parent in readable:
            return
        engine.step()
        if writable or [ready for ready in readable if ready is not engine]:
            control.serve(readable, writable)


def wait(engine: CoreEngine, control: Control, listener: socket.socket, parent: int | None = None) -> None:
    """As `run`, for an engine that has a thread of its own."""
    always: list[Any] = [listener] if parent is None else [listener, parent]
    while not control.stopped:
        limit = None if engine.settled else _SETTLING
        readable, writable, _ = select.select([*always, *control.connections], control.writers(), [], limit)
        if parent in readable:
            return
        control.serve(readable, writable)
        if not engine.settled:
            engine.settle_soon()


if __name__ == "__main__":
    sys.exit(main())

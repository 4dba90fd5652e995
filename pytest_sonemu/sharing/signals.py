"""SIGTERM while a bed is up: pytest itself would end without running a finalizer."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM, told to pytest the way Ctrl-C is: the running test ends and finalizers run."""


class TerminationGuard:
    """Turns SIGTERM into `Terminated` as long as a bed is up, unless somebody else handles it.

    The second signal (SIGTERM or Ctrl-C) breaks off the finalizers too; the keepers then end the beds.
    """

    def __init__(self) -> None:
        self._guarding = False

    def __call__(self, up: bool) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        if up and not self._guarding and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _terminate)
            self._guarding = True
        elif not up and self._guarding:
            self._guarding = False
            if signal.getsignal(signal.SIGTERM) is _terminate:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated("SIGTERM")

"""Waiting until what was sent before now has been passed on by the kernel.

A frame that crosses a veth pair waits in the receive queue of the processor that sent it. These
queues are first in, first out, and each processor has one for all namespaces. So a datagram that is
sent to ourselves on a processor comes back when the frames queued there before it have gone on.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading

_PATIENCE = 1.0


def let_pass(hops: int) -> None:
    """Return when frames sent before the call have had time for `hops` crossings of a veth pair each."""
    # On a thread of its own, since it moves from processor to processor.
    thread = threading.Thread(target=_run, args=(hops,), name="fence")
    thread.start()
    thread.join()


def _run(rounds: int) -> None:
    processors = sorted(os.sched_getaffinity(0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
        sock.settimeout(_PATIENCE)
        for number in range(rounds):
            mark = number.to_bytes(4, "big")
            for processor in processors:
                with contextlib.suppress(OSError):  # it may just have been taken from us
                    os.sched_setaffinity(0, {processor})
                sock.send(mark)
            waited = 0
            # A machine that does not answer to itself within a second has other worries.
            with contextlib.suppress(TimeoutError):
                while waited < len(processors):
                    waited += sock.recv(4) == mark

"""To start a relay in the fabric."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

from pytest_sonemu.relay.client import Hello, RelayClient, relay_argv


def start_relay(run_dir: Path) -> tuple[subprocess.Popen[bytes], RelayClient, Hello]:
    """Start a relay in the network namespace that we are in. It ends with us. Raises EmulationError."""
    path = run_dir / "relay.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(4)
        process = subprocess.Popen(
            relay_argv(listener.fileno(), parent=os.getpid()),
            stdin=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    try:
        client = RelayClient(path)
        hello = client.hello()
    except BaseException:
        # Nobody watches it yet: one that says nothing must not be taken for one that carries frames.
        process.kill()
        process.wait(10)
        raise
    return process, client, hello

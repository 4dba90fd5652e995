"""A pytest-testinfra host whose commands run in a VNF by its handle's `exec`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from pytest_sonemu.errors import CapabilityError
from pytest_sonemu.handles.results import CommandResult


def testinfra_host(run: Callable[..., CommandResult], name: str) -> Any:
    """The host of one VNF. Raises CapabilityError where pytest-testinfra is not installed."""
    try:
        base: Any = import_module("testinfra.backend.base")
        hosts: Any = import_module("testinfra.host")
    except ImportError as error:
        raise CapabilityError(
            "vnf.host needs pytest-testinfra: pip install 'pytest-sonemu[testinfra]'"
        ) from error

    class Backend(base.BaseBackend):  # type: ignore[misc]
        NAME = "sonemu"

        def run(self, command: str, *arguments: str, **_options: Any) -> Any:
            line = self.get_command(command, *arguments)
            done = run(line)
            return self.result(
                done.exit_status, self.encode(line), done.stdout.encode(), done.stderr.encode()
            )

        def get_hostname(self) -> str:
            return name

    return hosts.Host(Backend(name))

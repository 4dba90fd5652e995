"""A SAP or a host: a network namespace of the bed, without an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from pytest_sonemu.handles.endpoint import Endpoint

if TYPE_CHECKING:
    from pytest_sonemu.handles.background import BackgroundProcess


class NamespaceEndpoint(Endpoint):
    """An endpoint without a container: this machine's programs are its programs."""

    def spawn(
        self,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: str | bytes | None = None,
    ) -> BackgroundProcess:
        """Start a program of this machine here and go on: its output is live, it ends with the view.

            server = service.sap("output").spawn(["python3", "-m", "http.server", "8080"])

        There is no shell; a text is split into words. Rights, `env` and `stdin` are as for `run`.
        Raises ProbeError if this machine has no such program.
        """
        return self._spawn_program(command, env, stdin)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            from pytest_sonemu.handles.vnf import Vnf

            hint = ""
            if hasattr(Vnf, name):
                hint = ", as it has no container: run(…) and spawn(…) start programs of this machine in it"
            raise AttributeError(f"{type(self).__name__} has no '{name}'{hint}", name=name, obj=self)


class Sap(NamespaceEndpoint):
    """A service access point: where a test stands as the service's user.

    assert service.sap("input").http("http://server/").status_code == 200
    """


class Host(NamespaceEndpoint):
    """A host of the topology; all hosts share one E-LAN named `hosts`."""

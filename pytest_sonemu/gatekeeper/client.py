"""A client of the gatekeeper in Python: one method for each route."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import requests
from pydantic import TypeAdapter, ValidationError

from pytest_sonemu.errors import GatekeeperError
from pytest_sonemu.gatekeeper.model import (
    Health,
    InstanceList,
    InstanceView,
    Onboarded,
    PackageList,
    PackageView,
    Started,
    Starting,
    TopologyView,
)
from pytest_sonemu.handles.arguments import seconds

if TYPE_CHECKING:
    from typing_extensions import Self

Model = TypeVar("Model")
Progress = Callable[[int, int], None]
CONNECT_SECONDS = 5.0
# Answers come when a service is ready, a minute and more after an image has to be pulled.
ANSWER_SECONDS = 600.0
PART = 256 * 1024


class GatekeeperClient:
    """Speaks to a gatekeeper at `url`. Not thread-safe: one for each thread.

        gatekeeper = GatekeeperClient("http://127.0.0.1:5000")
        package = gatekeeper.onboard("firewall.son")
        instance = gatekeeper.start(package.service_uuid, images={"*": "sonemu/vnf-base"})
        gatekeeper.stop(instance)

    Every method raises GatekeeperError with the gatekeeper's own reason.
    """

    def __init__(self, url: str, *, timeout: float | str = ANSWER_SECONDS) -> None:
        self.url = url.rstrip("/")
        self._timeout = seconds(timeout)
        self._session = requests.Session()
        # A proxy of the machine has nothing to do with a server on it.
        self._session.trust_env = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<GatekeeperClient {self.url}>"

    def close(self) -> None:
        self._session.close()

    # -- packages ---------------------------------------------------------------------------------

    def packages(self) -> tuple[str, ...]:
        """The uuids of the onboarded packages, in that order."""
        return self._ask(PackageList, "GET", "/packages").service_uuid_list

    def onboard(self, package: str | Path, progress: Progress | None = None) -> Onboarded:
        """Upload a `.son` or `.tgo` file, or a project folder packed as one.

        `progress` gets the bytes sent so far and their total.
        """
        path = Path(package)
        if path.is_dir():
            from pytest_sonemu.descriptors.pack import pack

            return self.onboard_bytes(pack(path), f"{path.resolve().name}.son")
        try:
            with path.open("rb") as content:
                return self._upload(content, path.name, progress)
        except OSError as error:
            raise GatekeeperError(f"cannot read {path}: {error.strerror}") from error

    def onboard_bytes(self, package: bytes, file_name: str = "package.son") -> Onboarded:
        """Upload a package from memory."""
        files = {"package": (file_name, package, "application/zip")}
        return self._ask(Onboarded, "POST", "/packages", files=files)

    def package(self, service_uuid: str) -> PackageView:
        """One package: what is in it, what was found in it, what runs of it."""
        return self._ask(PackageView, "GET", f"/packages/{quote(service_uuid, safe='')}")

    def remove(self, service_uuid: str) -> PackageView:
        """Forget a package of which nothing runs."""
        return self._ask(PackageView, "DELETE", f"/packages/{quote(service_uuid, safe='')}")

    # -- instances --------------------------------------------------------------------------------

    def instances(self) -> tuple[tuple[str, ...], ...]:
        """The uuids of what runs: one tuple for each package."""
        return self._ask(InstanceList, "GET", "/instantiations").service_instantiations_list

    def start(
        self, service_uuid: str | None = None, *, service_name: str | None = None, **options: object
    ) -> str:
        """Start a service and return its instance's uuid when it is ready; None: what was onboarded last.

        `options` are those of this start: `placement`, `images`, `vnfs`, `saps`, `links`, `address_plan`,
        `routes`.
        """
        body = _start_body(service_uuid, service_name, options)
        return self._ask(Started, "POST", "/instantiations", json=body).service_instance_uuid

    def begin(
        self, service_uuid: str | None = None, *, service_name: str | None = None, **options: object
    ) -> str:
        """As `start`, but return at once; `instance` says how far it is."""
        body = _start_body(service_uuid, service_name, options)
        return self._ask(
            Starting, "POST", "/instantiations", json=body, params={"wait": "0"}
        ).service_instance_uuid

    def instance(self, service_instance_uuid: str) -> InstanceView:
        """One instance: its state, VNFs, SAPs and links."""
        return self._ask(InstanceView, "GET", f"/instantiations/{quote(service_instance_uuid, safe='')}")

    def wait_until_running(
        self, service_instance_uuid: str, timeout: float | str = ANSWER_SECONDS, interval: float | str = 0.1
    ) -> InstanceView:
        """Poll an instance until it runs. Raises GatekeeperError when its start failed, or took longer."""
        patience, pause = seconds(timeout), seconds(interval, "interval")
        deadline = time.monotonic() + patience
        while True:
            found = self.instance(service_instance_uuid)
            if found.state == "failed" and found.problem is not None:
                raise GatekeeperError(found.problem.message, 500, found.problem.detail)
            if found.state == "running":
                return found
            if time.monotonic() >= deadline:
                last = found.progress[-1] if found.progress else "nothing yet"
                raise GatekeeperError(
                    f"{service_instance_uuid} is still {found.state} after {patience:g} s ({last})"
                )
            time.sleep(pause)

    def stop(self, service_instance_uuid: str | None = None, *, service_uuid: str | None = None) -> str:
        """Stop an instance; None: the one started last, of that service or of all. Returns the answer."""
        body = {
            key: value
            for key, value in (
                ("service_uuid", service_uuid),
                ("service_instance_uuid", service_instance_uuid),
            )
            if value is not None
        }
        return self._ask(str, "DELETE", "/instantiations", json=body)

    # -- the bed ----------------------------------------------------------------------------------

    def topology(self) -> TopologyView:
        """The emulated infrastructure."""
        return self._ask(TopologyView, "GET", "/topology")

    def health(self) -> Health:
        """How it is; of a bed that has ended too."""
        return self._ask(Health, "GET", "/health", also=503)

    def wait_ready(self, timeout: float | str = 10.0) -> Health:
        """Return when a gatekeeper answers. Raises GatekeeperError when none does in time."""
        deadline = time.monotonic() + seconds(timeout)
        while True:
            try:
                return self.health()
            except GatekeeperError as error:
                if error.status or time.monotonic() >= deadline:
                    raise
            time.sleep(0.02)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document of what is served."""
        return self._ask(dict[str, Any], "GET", "/openapi.json")

    def exit(self) -> None:
        """End the emulation that `sonemu up` serves."""
        self._ask(type(None), "PUT", "/emulator/exit")

    # -- behind it --------------------------------------------------------------------------------

    def _upload(self, content: IO[bytes], file_name: str, progress: Progress | None) -> Onboarded:
        form = _Form(content, file_name, progress)
        return self._ask(
            Onboarded, "POST", "/packages", data=form, headers={"Content-Type": form.content_type}
        )

    def _ask(self, kind: type[Model], method: str, path: str, *, also: int = 0, **arguments: Any) -> Model:
        try:
            response = self._session.request(
                method, self.url + path, timeout=(CONNECT_SECONDS, self._timeout), **arguments
            )
        except requests.RequestException as error:
            raise GatekeeperError(f"no gatekeeper answers at {self.url}: {error}") from error
        try:
            body = response.json()
        except ValueError as error:
            raise GatekeeperError(
                f"{method} {path}: {response.status_code} and no JSON: {response.text[:200]!r}",
                response.status_code,
            ) from error
        if not response.ok and response.status_code != also:
            raise _refusal(method, path, response.status_code, body)
        try:
            return TypeAdapter(kind).validate_python(body)
        except ValidationError as error:
            raise GatekeeperError(
                f"{method} {path}: an answer that no gatekeeper gives: {error}", response.status_code
            ) from error


class _Form:
    """A form with one file, sent in parts: nothing is held in memory, and somebody may watch."""

    def __init__(self, content: IO[bytes], file_name: str, progress: Progress | None) -> None:
        border = os.urandom(16).hex()
        self.content_type = f"multipart/form-data; boundary={border}"
        name = file_name.replace("\\", "_").replace('"', "_")
        self._head = (
            f'--{border}\r\nContent-Disposition: form-data; name="package"; filename="{name}"\r\n'
            "Content-Type: application/zip\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{border}--\r\n".encode()
        self._content, self._progress = content, progress
        self._size = os.fstat(content.fileno()).st_size

    def __len__(self) -> int:
        return len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        sent = 0
        while part := self._content.read(PART):
            yield part
            sent += len(part)
            if self._progress is not None:
                self._progress(sent, self._size)
        yield self._tail


def _start_body(
    service_uuid: str | None, service_name: str | None, options: Mapping[str, object]
) -> dict[str, object]:
    named = {"service_uuid": service_uuid, "service_name": service_name}
    return {**{key: value for key, value in named.items() if value is not None}, **options}


def _refusal(method: str, path: str, status: int, body: object) -> GatekeeperError:
    reason = str(body)
    if isinstance(body, dict):
        reason = str(body.get("detail") or body.get("message") or body.get("error") or body)
    return GatekeeperError(f"{method} {path}: {status}: {reason}", status, reason)

"""Images at hand before anything starts: all units in parallel, each distinct image once.

`ImageResolver.resolve` serves one service, `prepare` all services of a test session. Both say
everything that cannot be had in one error, with the way to map it.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import requests
from docker import APIClient
from docker.auth import get_config_header, resolve_repository_name
from docker.errors import APIError

from pytest_sonemu.emulation import builds
from pytest_sonemu.emulation.docker_api import StreamTimeout, inspect_image, post_stream
from pytest_sonemu.emulation.image_choice import (
    BASE_IMAGE,
    ImageRequest,
    Refused,
    Want,
    choose,
    is_base,
    mentioned,
    problem_of,
)
from pytest_sonemu.errors import ImageError, MachineError
from pytest_sonemu.planning.plan import ImageChoice

THREADS = 16
BUILDS_AT_ONCE = 2
PULL_FIRST = 10.0
PULL_IDLE = 60.0
ENTRY_SCRIPTS = ("VIM_EMU_CMD=", "SON_EMU_CMD=")
# What a kernel runs beside its own: a 64-bit one the 32-bit images of its family.
COMPATIBLE = {"amd64": {"amd64", "386"}, "arm64": {"arm64", "arm"}}
MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "i386": "386"}
# Who asks for images, and so where another one is named instead of one that cannot be had.
Caller = Literal["pytest", "python", "up"]

T = TypeVar("T")
Service = TypeVar("Service")


class ImageResolver:
    """Chooses, fetches and builds images by the caller's own Docker rights and credentials.

    `progress` gets one line at a time, never two threads at once. `pull_first` and `pull_idle` are in
    seconds: until the registry has answered, and between two parts of what it sends.
    """

    def __init__(
        self,
        client: APIClient,
        progress: Callable[[str], None] | None = None,
        *,
        allow_build: bool = True,
        limits: builds.BuildLimits | None = None,
        caller: Caller = "pytest",
        pull_first: float = PULL_FIRST,
        pull_idle: float = PULL_IDLE,
    ) -> None:
        self._client = client
        self._progress = progress
        self._allow_build = allow_build
        self._caller: Caller = caller
        self._limits = limits or builds.BuildLimits()
        self._pull_times = (pull_first, pull_idle)
        self._lock = threading.Lock()
        self._building = threading.Semaphore(BUILDS_AT_ONCE)
        self._done: dict[tuple[object, ...], Future[Any]] = {}
        self._architecture: str | None = None

    def resolve(self, wanted: Sequence[ImageRequest]) -> dict[str, ImageChoice]:
        """The image of each unit, by the request's key. Raises ImageError with all failures together."""
        outcomes = self._outcomes(wanted)
        failures = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        if failures:
            raise _together(failures)
        return {
            request.key: outcome
            for request, outcome in zip(wanted, outcomes, strict=True)
            if isinstance(outcome, ImageChoice)
        }

    def prepare(
        self,
        services: Mapping[Service, Sequence[ImageRequest]],
        *,
        session: str = "",
        lock: Path | None = None,
    ) -> dict[Service, dict[str, ImageChoice] | ImageError]:
        """`resolve` for every service of a test session: what it has, or the error its tests will show.

        Of several processes (xdist's workers) one fetches and builds while the others wait for `lock`, a
        file of this user by default, and then find everything there. What could not be pulled is not
        tried again by another process of the same `session` (xdist's test run id).
        """
        flat = [(service, request) for service, wanted in services.items() for request in wanted]
        path = lock or default_lock()
        with machine_lock(path):
            self._read_failures(path, session)
            outcomes = self._outcomes([request for _, request in flat])
            self._write_failures(path, session)
        result: dict[Service, dict[str, ImageChoice] | ImageError] = {}
        for service in services:
            mine = [(r, out) for (s, r), out in zip(flat, outcomes, strict=True) if s == service]
            failures = [outcome for _, outcome in mine if isinstance(outcome, Refused)]
            result[service] = (
                _together(failures)
                if failures
                else {request.key: outcome for request, outcome in mine if isinstance(outcome, ImageChoice)}
            )
        return result

    def _outcomes(self, wanted: Sequence[ImageRequest]) -> list[ImageChoice | Refused]:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="sonemu-image") as pool:
            references = sorted(set().union(*(mentioned(request) for request in wanted)))
            present = dict(
                zip(references, pool.map(partial(inspect_image, self._client), references), strict=True)
            )
            return list(pool.map(partial(self._one, present=present), wanted))

    def _one(self, request: ImageRequest, present: Mapping[str, Any]) -> ImageChoice | Refused:
        try:
            want = choose(request, lambda reference: present.get(reference) is not None, self._allow_build)
            reference, image = self._carry_out(want, request, present)
            return self._choice(request, want, reference, image)
        except Refused as refusal:
            return Refused(_failure(request, str(refusal), self._caller))
        except (ImageError, MachineError) as error:
            return Refused(_failure(request, str(error), self._caller))

    def _carry_out(self, want: Want, request: ImageRequest, present: Mapping[str, Any]) -> tuple[str, Any]:
        if want.way == "local":
            return want.target, present[want.target]
        if want.way == "base":
            return want.target, self._once(("base",), self._base)
        if want.way == "pull":
            return want.target, self._once(("pull", want.target), partial(self._pull, want.target))
        if want.way == "folder":
            folder = Path(want.target)
            pack = partial(builds.folder_context, folder, self._limits.context)
            return self._once(("folder", folder), partial(self._build, pack, request.key))
        pack = partial(builds.archive_context, request.files, want.target, self._limits.context)
        return self._once(
            ("archive", id(request.files), want.target), partial(self._build, pack, request.key)
        )

    def _base(self) -> Any:
        from pytest_sonemu.emulation.base_image import ensure_base_image

        try:
            ensure_base_image(self._client, self._say)
        except MachineError:
            # Brought here by `docker load`, on a machine that cannot build it: as good as built.
            if (image := inspect_image(self._client, BASE_IMAGE)) is not None:
                return image
            raise
        return self._fetched(BASE_IMAGE)

    def _pull(self, reference: str) -> Any:
        self._say(f"pulling {reference}")
        registry, _ = resolve_repository_name(reference)
        header = get_config_header(self._client, registry)
        name, tag = _split(reference)
        first, idle = self._pull_times
        counted = _Counted(self._say, reference)
        try:
            for event in post_stream(
                self._client, "/images/create", params={"fromImage": name, "tag": tag},
                headers={"X-Registry-Auth": header.decode()} if header else {},
                first=first, idle=idle,
            ):  # fmt: skip
                if "error" in event:
                    raise ImageError(f"pulling '{reference}' failed: {event['error']}")
                counted.see(event)
        except StreamTimeout as error:
            what = "nothing more came for" if error.started else "its registry did not answer within"
            raise ImageError(f"pulling '{reference}' failed: {what} {error.seconds:g} s") from error
        except APIError as error:
            raise ImageError(f"pulling '{reference}' failed: {error.explanation}") from error
        except requests.RequestException as error:
            raise ImageError(f"pulling '{reference}' failed: Docker broke off ({error})") from error
        return self._fetched(reference)

    def _build(self, pack: Callable[[], builds.Context], key: str) -> tuple[str, Any]:
        context = pack()
        with context.archive:
            base_ids = [str(self._base_of_build(reference)["Id"]) for reference in context.bases]
            tag = builds.tag_of(context, base_ids, self._limits)
            image = inspect_image(self._client, tag)
            if image is None:
                with self._building:
                    self._say(f"building the image of {key}")
                    builds.build(
                        self._client, context, tag, self._limits, lambda line: self._say(f"{key}: {line}")
                    )
                image = self._fetched(tag)
        return tag, image

    def _base_of_build(self, reference: str) -> Any:
        if is_base(reference):
            return self._once(("base",), self._base)
        if (image := inspect_image(self._client, reference)) is not None:
            return image
        if problem := problem_of(reference):
            raise ImageError(f"its Dockerfile cannot start FROM {reference}: {problem}")
        return self._once(("pull", reference), partial(self._pull, reference))

    def _fetched(self, reference: str) -> Any:
        image = inspect_image(self._client, reference)
        if image is None:
            raise ImageError(
                f"'{reference}' was fetched or built, but is not there; was it removed meanwhile?"
            )
        return image

    def _once(self, key: tuple[object, ...], work: Callable[[], T]) -> T:
        """Do it in the first thread that asks; the others wait for its outcome."""
        with self._lock:
            future: Future[T] | None = self._done.get(key)
            mine = future is None
            if future is None:
                future = self._done[key] = Future()
        if mine:
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
                raise
        return future.result()

    def _choice(self, request: ImageRequest, want: Want, reference: str, image: Any) -> ImageChoice:
        config = image.get("Config") or {}
        environment = tuple(config.get("Env") or ())
        entrypoint, command = tuple(config.get("Entrypoint") or ()), tuple(config.get("Cmd") or ())
        has_script = any(line.startswith(ENTRY_SCRIPTS) for line in environment)
        if not (entrypoint or command or has_script or request.command or request.unit.command):
            raise Refused(
                f"'{reference}' has neither ENTRYPOINT nor CMD, so nothing to run; give it one, or set "
                f"`command` for '{request.key}'"
            )
        self._check_architecture(reference, image)
        health = config.get("Healthcheck") or {}
        timeout = int(health.get("Timeout") or 0) / 1e9
        return ImageChoice(
            reference=reference,
            id=str(image["Id"]),
            reason=want.reason,
            entrypoint=entrypoint,
            command=command,
            environment=environment,
            user=config.get("User") or "",
            working_dir=config.get("WorkingDir") or "",
            healthcheck=tuple(health.get("Test") or ()),
            healthcheck_timeout=timeout or 30.0,
            stop_signal=config.get("StopSignal") or "SIGTERM",
            stand_in=want.stand_in,
        )

    def _check_architecture(self, reference: str, image: Any) -> None:
        theirs = image.get("Architecture") or ""
        if self._architecture is None:
            name = str(self._once(("version",), self._client.version).get("Arch", ""))
            self._architecture = MACHINES.get(name, name)
        ours = self._architecture
        if theirs and ours and theirs not in COMPATIBLE.get(ours, {ours}):
            raise Refused(f"'{reference}' is for {theirs}, and this machine is {ours}; get it for {ours}")

    def _read_failures(self, path: Path, session: str) -> None:
        text = path.read_text()
        known = json.loads(text) if session and text else {}
        if known.get("session") == session:
            for reference, why in known["pulls"].items():
                future: Future[Any] = Future()
                future.set_exception(ImageError(why))
                self._done.setdefault(("pull", reference), future)

    def _write_failures(self, path: Path, session: str) -> None:
        failed = {str(key[1]): future.exception() for key, future in self._done.items() if key[0] == "pull"}
        pulls = {reference: str(error) for reference, error in failed.items() if error is not None}
        path.write_text(json.dumps({"session": session, "pulls": pulls}) if session else "")

    def _say_of(self, key: str, line: str) -> None:
        self._say(f"{key}: {line}")

    def _say(self, line: str) -> None:
        if self._progress is not None:
            with self._lock:
                self._progress(line)


class _Counted:
    """Bytes of a pull, told every two seconds."""

    def __init__(self, say: Callable[[str], None], reference: str) -> None:
        self._say, self._reference = say, reference
        self._layers: dict[str, tuple[int, int]] = {}
        self._told = time.monotonic()

    def see(self, event: Mapping[str, Any]) -> None:
        detail = event.get("progressDetail") or {}
        if event.get("status") == "Downloading" and detail.get("total"):
            self._layers[str(event.get("id"))] = (int(detail.get("current", 0)), int(detail["total"]))
        if self._layers and time.monotonic() - self._told >= 2:
            self._told = time.monotonic()
            here, total = (sum(part) / 1e6 for part in zip(*self._layers.values(), strict=True))
            self._say(f"pulling {self._reference}: {here:.0f} of {total:.0f} MB")


def default_lock() -> Path:
    """The file that this user's processes take in turn while they fetch and build images."""
    folder = Path(tempfile.gettempdir(), f"sonemu-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or folder.is_symlink():
        raise MachineError(
            f"{folder} belongs to somebody else; remove it, or set TMPDIR to a folder of your own"
        )
    return folder / "images.lock"


@contextmanager
def machine_lock(path: Path) -> Iterator[None]:
    """Hold `path` against every other process of this machine; the kernel lets go when we end."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def with_image_map(wanted: Iterable[ImageRequest], image_map: Mapping[str, str]) -> list[ImageRequest]:
    """The same requests with entries added to their maps; entries that a request has itself win."""
    return [replace(request, image_map={**image_map, **request.image_map}) for request in wanted]


def _split(reference: str) -> tuple[str, str]:
    """Name and tag (or digest) as Docker's API takes them."""
    if "@" in reference:
        name, _, digest = reference.partition("@")
        return name, digest
    head, colon, tag = reference.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (reference, "latest")


def _failure(request: ImageRequest, why: str, caller: Caller) -> str:
    where = f" ({request.unit.place})" if request.unit.place else ""
    own = f"image '{request.reference}'" if request.reference else "its image"
    return (
        f"VNF '{request.key}'{where}: {own} cannot be had: {why}\n    map it: {_way_to_map(request, caller)}"
    )


def _way_to_map(request: ImageRequest, caller: Caller) -> str:
    key, reference = request.key, request.reference
    if caller == "up":
        entry = f'"{reference or "*"}": {BASE_IMAGE}'
        return f"--images FILE, a YAML map with {entry} (or yours); over HTTP `images` of the start's body"
    if caller == "python":
        direct = f'vnfs={{"{key}": {{"image": "{BASE_IMAGE}"}}}} (or yours)'
    else:
        direct = f"--sonemu-set '{key}.image={BASE_IMAGE}' (or yours)"
    return direct + (
        f", or under images: of sonemu.yml or the topology ('{reference}': …)" if reference else ""
    )


def _together(failures: Sequence[Refused]) -> ImageError:
    if len(failures) == 1:
        return ImageError(str(failures[0]))
    listing = "\n".join(f"  - {failure}" for failure in failures)
    return ImageError(f"{len(failures)} images cannot be had:\n{listing}")

"""`sonemu up`: a bed with SONATA's gatekeeper on it, in the foreground."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from pytest_sonemu.errors import BedGoneError, SettingsError

if TYPE_CHECKING:
    from pytest_sonemu.gatekeeper.serving import ServedGatekeeper
    from pytest_sonemu.handles.service import Service
    from pytest_sonemu.handles.testbed import TestBed

# How soon it is shown what others do on the bed, and that it was ended.
LOOK_SECONDS = 0.5


@click.command(short_help="Boot a bed with SONATA's gatekeeper on it.")
@click.argument("topology", required=False, type=click.Path(path_type=Path))
@click.option("--name", help="What the bed is called; a name is made up without it.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to serve on.")
@click.option("--port", default=5000, show_default=True, help="The port to serve on; 0 is any free one.")
@click.option(
    "--package",
    "packages",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Onboard this package (a .son or .tgo file or a project folder); may be given several times.",
)
@click.option("--start", is_flag=True, help="Start one instance of each package.")
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="A YAML map of images to run instead of others; patterns are allowed.",
)
@click.option(
    "--container-names",
    type=click.Choice(["sonemu", "mn"]),
    default="sonemu",
    show_default=True,
    help="mn: name containers mn.<vnf_id>, as clients of old emulators expect it.",
)
@click.option("--allow-build", is_flag=True, help="Let Dockerfiles of packages be built.")
def up(
    topology: Path | None,
    name: str | None,
    host: str,
    port: int,
    packages: tuple[Path, ...],
    start: bool,
    images: Path | None,
    container_names: str,
    allow_build: bool,
) -> None:
    """Boot a test bed (of one PoP, or of a TOPOLOGY file) and serve SONATA's gatekeeper on it.

    It ends, and leaves nothing, with Ctrl-C, SIGTERM, `sonemu down` and PUT /emulator/exit.
    """
    from pytest_sonemu.gatekeeper.published import publish
    from pytest_sonemu.gatekeeper.serving import serve
    from pytest_sonemu.handles.testbed import TestBed

    mapped = read_images(images) if images is not None else None
    end, voice = End(), Voice()
    with end.by_signals(), TestBed(topology, name=name, images=mapped, progress=voice) as bed:
        serving = serve(
            bed,
            host=host,
            port=port,
            allow_build=allow_build,
            options={"container_names": container_names},
            shut_down=end.asked.set,
            say=voice,
        )
        with serving as served:
            _prepare(served, packages, start)
            publish(bed.run_dir, served.url)
            voice.ready = True
            voice(f"bed {bed.name} is up: {served.url} (Ctrl-C ends it)")
            end.waited_for = True
            _stay(bed, served, end.asked)
            # The bed first: what is being started fails at once, and is answered before the port closes.
            bed.end()
    voice(f"bed {bed.name} has ended")


class Voice:
    """Says lines: beside the output until the bed is ready, so that the first line there is its URL."""

    def __init__(self) -> None:
        self.ready = False

    def __call__(self, line: str) -> None:
        click.echo(line, err=not self.ready)


class End:
    """Ctrl-C and SIGTERM: they cut short what comes before the waiting, then they ask for the end."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.waited_for = False

    @contextmanager
    def by_signals(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if not self.waited_for or (self.asked.is_set() and number == signal.SIGINT):
            raise KeyboardInterrupt
        self.asked.set()


def _prepare(served: ServedGatekeeper, packages: tuple[Path, ...], start: bool) -> None:
    from pytest_sonemu.gatekeeper.model import Wish
    from pytest_sonemu.gatekeeper.problems import Answer

    for path in packages:
        try:
            package = served.gatekeeper.catalogue.onboard_path(path)
        except Answer as refusal:
            raise click.ClickException(refusal.reason) from refusal
        if start:
            try:
                served.gatekeeper.lifecycle.start(Wish(package.uuid))
            except Answer as refusal:
                raise SystemExit(1) from refusal  # it has been said why


def _stay(bed: TestBed, served: ServedGatekeeper, asked: threading.Event) -> None:
    """Show what runs as it changes, until somebody asks for the end or the bed is gone.

    What is started over HTTP is shown once it is ready.
    """
    shown: list[str] = []
    while not asked.is_set():
        try:
            ready = {uuid for group in served.gatekeeper.lifecycle.listing() for uuid in group}
            now = [line for service in bed.services if service.uuid in ready for line in _lines(service)]
        except BedGoneError:
            return
        if now != shown:
            click.echo("\n".join(["deployed:", *now] if now else ["nothing is deployed"]))
        shown = now
        asked.wait(LOOK_SECONDS)


def _lines(service: Service) -> Iterator[str]:
    yield f"  {service.id} ({service.uuid})"
    for endpoint in service.plan.endpoints:
        if endpoint.container is not None:
            addresses = [str(address.ip) for i in endpoint.interfaces for address in i.addresses]
            where = f"{endpoint.pop}: {', '.join(addresses) or 'no address'}"
            yield f"    {endpoint.id} in {where}, container {endpoint.container.name}"


def read_images(path: Path) -> dict[str, str]:
    """A YAML map of image references or patterns to images. Raises SettingsError."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"--images {path}: cannot be read: {error}") from error
    if not isinstance(content, dict) or not all(
        isinstance(word, str) for pair in content.items() for word in pair
    ):
        raise SettingsError(f'--images {path}: not a map of images, such as  "*": sonemu/vnf-base')
    return content

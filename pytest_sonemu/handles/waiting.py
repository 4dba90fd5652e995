"""Ready means ready: small conditions that can be put together, and one way of waiting for them.

A condition is asked again and again and answers with a `State`; a time-out tells the last one. Tests
write conditions as `80`, `"udp:53"`, `"log:rules loaded"`, `"file:/run/x"`, `"exec:pgrep nginx"`, a
callable, or a list of these.
"""

from __future__ import annotations

import inspect
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from pytest_sonemu.errors import NotReadyError, ProbeError, SettingsError, SonemuError
from pytest_sonemu.handles.settling import Activity, listeners

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pytest_sonemu.emulation.protocol import ContainerState
    from pytest_sonemu.handles.results import CommandResult
    from pytest_sonemu.planning.plan import ImageChoice

READY_SECONDS = 60.0
SETTLE_SECONDS = 1.0
LOG_LINES = 15
CHEAP: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1)
# An exec costs 61 ms of a core, so it is asked less often (ruling 11).
COSTLY: tuple[float, ...] = (0.1, 0.2, 0.4, 1.0)
FORMS = (
    '80, "tcp:80", "udp:53", "log:some text", "file:/path", "exec:command", a callable, or a list of these'
)


class State(NamedTuple):
    """What a condition found: whether it holds, and what there is to see, for the error."""

    ok: bool
    text: str


class Hopeless(Exception):
    """A condition that can no longer come true; waiting ends at once."""


class Waitable(Protocol):
    """What a VNF offers to be waited for. `state` is asked anew each time: pid, phase, exit status."""

    @property
    def id(self) -> str: ...

    def state(self) -> ContainerState: ...

    def log_lines(self) -> list[str]: ...

    def run(self, command: str | Sequence[str], timeout: float) -> CommandResult: ...

    def exists(self, path: str) -> bool: ...


@runtime_checkable
class Condition(Protocol):
    """One thing that must hold. `what` names it in errors; `pauses` are the seconds between two checks."""

    @property
    def what(self) -> str: ...

    @property
    def pauses(self) -> tuple[float, ...]: ...

    def check(self, vnf: Waitable) -> State: ...


@dataclass(frozen=True)
class Port:
    """Something listens on a port that others can reach (not on loopback only, unless `address` is one)."""

    port: int
    protocol: Literal["tcp", "udp"] = "tcp"
    address: IPv4Address | IPv6Address | None = None
    pauses: tuple[float, ...] = CHEAP

    @property
    def what(self) -> str:
        return f"{self.protocol} port {self.port}" + (f" of {self.address}" if self.address else "")

    def check(self, vnf: Waitable) -> State:
        open_ = sorted(str(each) for each in listeners(vnf.state().pid) if each.protocol == self.protocol)
        mine = [
            each
            for each in listeners(vnf.state().pid)
            if each.protocol == self.protocol and each.port == self.port
        ]
        if any(self._reached_by(each.address) for each in mine):
            return State(True, f"{self.what} is open")
        if mine:
            return State(False, f"listens on {', '.join(map(str, mine))} only")
        return State(False, f"listening: {', '.join(open_) or 'nothing'}")

    def _reached_by(self, bound: IPv4Address | IPv6Address) -> bool:
        if self.address is not None:
            return bound == self.address or bound.is_unspecified
        return not bound.is_loopback


@dataclass(frozen=True)
class Log:
    """A line of the VNF's output, or of its entry script's, contains a text."""

    text: str
    pauses: tuple[float, ...] = (0.05, 0.1, 0.2)

    @property
    def what(self) -> str:
        return f"log line with '{self.text}'"

    def check(self, vnf: Waitable) -> State:
        lines = vnf.log_lines()
        found = any(self.text in line for line in lines)
        return State(found, f"{len(lines)} lines" + (f", last: {lines[-1]}" if lines else ""))


@dataclass(frozen=True)
class File:
    """A path exists in the container."""

    path: str
    pauses: tuple[float, ...] = COSTLY

    @property
    def what(self) -> str:
        return f"file {self.path}"

    def check(self, vnf: Waitable) -> State:
        return State(True, "there") if vnf.exists(self.path) else State(False, "not there")


@dataclass(frozen=True)
class Command:
    """A command in the container ends with 0."""

    command: str | tuple[str, ...]
    timeout: float = 10.0
    what: str = ""
    slots: AbstractContextManager[Any] = field(default_factory=nullcontext, compare=False, repr=False)
    pauses: tuple[float, ...] = COSTLY

    def __post_init__(self) -> None:
        if not self.what:
            shown = self.command if isinstance(self.command, str) else " ".join(self.command)
            object.__setattr__(self, "what", f"`{shown}`")

    def check(self, vnf: Waitable) -> State:
        with self.slots:
            try:
                result = vnf.run(self.command, self.timeout)
            except ProbeError as error:  # not ended in its time: as unhealthy as any other status
                return State(False, str(error))
        said = (result.stdout + result.stderr).strip().splitlines()
        return State(result.ok, f"exit status {result.exit_status}" + (f", said: {said[-1]}" if said else ""))


@dataclass(frozen=True)
class Called:
    """A function, of the VNF's handle or of nothing, is true; assertions and I/O errors mean not yet."""

    function: Callable[..., object]
    pauses: tuple[float, ...] = COSTLY

    @property
    def what(self) -> str:
        return f"{getattr(self.function, '__name__', 'callable')}()"

    def check(self, vnf: Waitable) -> State:
        try:
            value = self.function(*self._given(vnf))
        except (AssertionError, OSError, SonemuError) as error:
            return State(False, f"{type(error).__name__}: {error}")
        return State(bool(value), repr(value))

    def _given(self, vnf: Waitable) -> tuple[Waitable, ...]:
        try:
            inspect.signature(self.function).bind(vnf)
        except (TypeError, ValueError):
            return ()
        return (vnf,)


@dataclass
class Settled:
    """The entry script has ended with 0; or, as a guess, nothing was started or opened for `seconds`."""

    seconds: float = SETTLE_SECONDS
    entry_script: bool = False
    pauses: tuple[float, ...] = (0.05, 0.1)
    guessed: bool = False
    _life: tuple[int, int] = (0, 0)
    _activity: Activity | None = None
    _sample: tuple[object, ...] = ()
    _since: float = 0.0

    @property
    def what(self) -> str:
        return f"{'entry script' if self.entry_script else 'process'} ended or quiet for {self.seconds:g} s"

    def check(self, vnf: Waitable) -> State:
        state = vnf.state()
        if self.entry_script and state.entry_exit_status is not None:
            if state.entry_exit_status:
                raise Hopeless(f"its entry script ended with {state.entry_exit_status}")
            self.guessed = False
            return State(True, "entry script ended with 0")
        self.guessed = True
        now = time.monotonic()
        if self._activity is None or self._life != (state.pid, state.start_time):
            self._activity, self._life = Activity(state.id), (state.pid, state.start_time)
            self._sample = ()
        sample = self._activity.sample(state.pid)
        if sample != self._sample:
            self._sample, self._since = sample, now
        quiet = now - self._since
        return State(quiet >= self.seconds, f"quiet for {quiet:.1f} s")


@dataclass(frozen=True)
class Alive:
    """The VNF's process lives (all that can be said of an image whose command is an idle shell)."""

    what: str = "process lives"
    pauses: tuple[float, ...] = CHEAP

    def check(self, vnf: Waitable) -> State:
        state = vnf.state()
        return State(state.phase in {"running", "paused"}, state.phase)


@dataclass(frozen=True, slots=True)
class Readiness:
    """How a VNF became ready: after how many seconds, and whether that was guessed from quiet alone."""

    seconds: float
    guessed: bool = False

    def note(self, vnf: str) -> str:
        """What a failed test's report says of a guess; empty where nothing was guessed."""
        if not self.guessed:
            return ""
        return f"readiness of '{vnf}' was guessed (it was quiet); say what it means by `ready`: {FORMS}"


def health_slots() -> threading.Semaphore:
    """The places for health commands of one bed: two at a time (ruling 11)."""
    return threading.Semaphore(2)


def parse_conditions(ready: object, where: str = "ready") -> tuple[Condition, ...]:
    """The conditions that `ready` asks for. Raises SettingsError that lists the forms."""
    if isinstance(ready, (list, tuple)):
        return tuple(itertools.chain.from_iterable(parse_conditions(each, where) for each in ready))
    if isinstance(ready, Condition):
        return (ready,)
    if isinstance(ready, int) and not isinstance(ready, bool):
        return (_port(str(ready), "tcp", where),)
    if callable(ready):
        return (Called(ready),)
    if isinstance(ready, str):
        kind, colon, rest = ready.partition(":")
        if not colon and ready.isdigit():
            return (_port(ready, "tcp", where),)
        if kind == "tcp" or kind == "udp":
            return (_port(rest, "udp" if kind == "udp" else "tcp", where),)
        if rest and kind in {"log", "exec"}:
            return (Log(rest) if kind == "log" else Command(rest),)
        if kind == "file" and rest.startswith("/"):
            return (File(rest),)
    raise SettingsError(f"{where}: {ready!r} is no condition; write {FORMS}")


def default_conditions(
    image: ImageChoice,
    *,
    entry_script: bool,
    idle_shell: bool = False,
    settle: float = SETTLE_SECONDS,
    slots: AbstractContextManager[Any] | None = None,
) -> tuple[Condition, ...]:
    """What readiness means without `ready`: the image's health command, else ended or quiet (ruling 11).

    `idle_shell` tells that the image's command is a shell which only waits for input. `slots` limits
    the health commands of a bed (`health_slots()`).
    """
    kind, *rest = image.healthcheck or ("NONE",)
    if kind in {"CMD", "CMD-SHELL"} and rest:
        command: str | tuple[str, ...] = rest[0] if kind == "CMD-SHELL" else tuple(rest)
        shown = command if isinstance(command, str) else " ".join(command)
        gate = slots if slots is not None else nullcontext()
        return (Command(command, image.healthcheck_timeout, f"HEALTHCHECK `{shown}`", gate),)
    if idle_shell and not entry_script:
        return (Alive(),)
    return (Settled(settle, entry_script),)


def wait_ready(
    vnf: Waitable, conditions: Sequence[Condition], timeout: float = READY_SECONDS, hint: str = ""
) -> Readiness:
    """Wait until all conditions hold, one after the other.

    Raises NotReadyError with VNF, condition, last state and last log lines when `timeout` seconds are
    over, and at once when the VNF has ended.
    """
    started = time.monotonic()
    for condition in conditions:
        last = State(False, "not checked yet")
        for _ in _attempts(started + timeout, condition.pauses):
            if ended := _ended(vnf.state()):
                raise NotReadyError(_not_ready(vnf, condition, f"{ended} while starting", last, hint))
            try:
                last = _within(condition, started + timeout).check(vnf)
            except Hopeless as error:
                what = f"cannot become ready: {error}"
                raise NotReadyError(_not_ready(vnf, condition, what, last, hint)) from error
            if last.ok:
                break
        else:
            raise NotReadyError(_not_ready(vnf, condition, f"is not ready after {timeout:g} s", last, hint))
    guessed = any(isinstance(condition, Settled) and condition.guessed for condition in conditions)
    return Readiness(time.monotonic() - started, guessed)


def wait_until(
    check: Callable[[], State | bool],
    timeout: float,
    what: str,
    hint: str = "",
    pauses: Sequence[float] = CHEAP,
) -> None:
    """Wait until `check()` is true, or a `State` that is ok; it is asked at least once.

    Raises NotReadyError with `what`, the last state and `hint` after `timeout` seconds.
    """
    last = State(False, "")
    for _ in _attempts(time.monotonic() + timeout, pauses):
        found = check()
        last = found if isinstance(found, State) else State(found, "")
        if last.ok:
            return
    state = f"; last: {last.text}" if last.text else ""
    raise NotReadyError(f"{what}: not within {timeout:g} s{state}{f'; {hint}' if hint else ''}")


def _attempts(deadline: float, pauses: Sequence[float]) -> Iterator[int]:
    """Count attempts, with the pauses between them (the last repeats); one more at the deadline itself."""
    for number in itertools.count():
        yield number
        left = deadline - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(pauses[min(number, len(pauses) - 1)], left))


def _within(condition: Condition, deadline: float) -> Condition:
    """A command that hangs must not hold up the time-out; whatever is left, it gets a second."""
    if not isinstance(condition, Command):
        return condition
    return replace(condition, timeout=min(condition.timeout, max(deadline - time.monotonic(), 1.0)))


def _port(text: str, protocol: Literal["tcp", "udp"], where: str) -> Port:
    host, _, number = text.rpartition(":")
    try:
        address = ip_address(host.strip("[]")) if host else None
    except ValueError as error:
        raise SettingsError(f"{where}: '{host}' is not an address; write {FORMS}") from error
    if not number.isdigit() or not 0 < int(number) < 65536:
        raise SettingsError(f"{where}: '{number}' is not a port (1 to 65535); write {FORMS}")
    return Port(int(number), protocol, address)


def _ended(state: ContainerState) -> str:
    if state.phase != "exited":
        return ""
    memory = ", out of memory" if state.out_of_memory else ""
    return f"ended with {state.exit_status}{memory}"


def _not_ready(vnf: Waitable, condition: Condition, what: str, last: State, hint: str) -> str:
    lines = vnf.log_lines()[-LOG_LINES:]
    log = "".join(f"\n  | {line}" for line in lines) or " (no output)"
    if isinstance(condition, Settled):
        hint = f"say what it means by `ready`: {FORMS}"
    more = f"\n  {hint}" if hint else ""
    return f"VNF '{vnf.id}' {what}; waited for: {condition.what}; last state: {last.text}{more}\n  log:{log}"

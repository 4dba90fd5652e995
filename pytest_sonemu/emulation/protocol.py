"""What a client says to a bed's keeper, and what it hears: typed messages, JSON on a Unix socket.

A message is a 4-byte big-endian length and a JSON object; `kind` tells which. File descriptors
travel beside a message (SCM_RIGHTS). Every request gets exactly one reply of the type named in its
docstring, or `Failure`. While a long request runs, `Progress` messages may come before the reply.
What only looks is in `readings.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeVar

from pytest_sonemu.emulation import readings
from pytest_sonemu.planning.plan import Allocations, DeploymentPlan
from pytest_sonemu.relay.model import Impairment

VERSION = 1

ContainerPhase = Literal["held", "running", "paused", "exited"]
CutKind = Literal["carrier", "frames"]
VnfVerb = Literal["stop", "start", "restart", "kill", "pause", "unpause"]


@dataclass(frozen=True, slots=True)
class Boot:
    """The first message, from the owner: what the keeper needs to know. Reply: `Booted`.

    `lease` None: the bed lives as long as this connection and its process; else seconds from now.
    `topology` is the bed's topology as JSON text, for those who attach.
    """

    bed: str
    docker_host: str | None
    topology: str
    hold: str
    project: str = ""
    seed: int = 0
    lease: float | None = None
    kind: Literal["boot"] = "boot"


@dataclass(frozen=True, slots=True)
class Attach:
    """The first message of any further connection of the same user. Reply: `Booted`."""

    kind: Literal["attach"] = "attach"


@dataclass(frozen=True, slots=True)
class Booted:
    bed: str
    pid: int
    start_time: int
    run_dir: str
    topology: str
    seed: int = 0
    version: int = VERSION
    kind: Literal["booted"] = "booted"


@dataclass(frozen=True, slots=True)
class Apply:
    """Carry out a plan, up to its containers' own commands running. Reply: `Applied`.

    `generation` is the one of the allocations the plan was made against; a `Failure` with
    `reason="stale"` asks for a new plan.
    """

    plan: DeploymentPlan
    generation: int
    kind: Literal["apply"] = "apply"


@dataclass(frozen=True, slots=True)
class ContainerState:
    """One life of a container. `start_time` is the process's, in clock ticks since boot."""

    endpoint: str
    name: str
    id: str
    phase: ContainerPhase
    pid: int
    start_time: int
    lives: int
    exit_status: int | None = None
    out_of_memory: bool = False
    entry_exit_status: int | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    instance: str
    containers: tuple[ContainerState, ...]
    kind: Literal["applied"] = "applied"


@dataclass(frozen=True, slots=True)
class Amend:
    """Make a running instance that of `plan`, by what differs; else as `Apply`. Reply: `Applied`."""

    plan: DeploymentPlan
    generation: int
    kind: Literal["amend"] = "amend"


@dataclass(frozen=True, slots=True)
class Undo:
    """End an instance (ruling 27 says when the reply comes). Reply: `Done`."""

    instance: str
    kind: Literal["undo"] = "undo"


Mute = Literal["", "port", "connection"]


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """A socket of an endpoint's namespace (`endpoint` None: the fabric's). Reply: `Done` + 1 descriptor.

    A `mute` one takes nothing of what comes in, and the kernel is silent about it: "port" by a filter, to
    which a TCP socket has a right only here; "connection" one that is connected without a word as well,
    and may stand where another one listens.
    """

    instance: str | None
    endpoint: str | None
    family: int
    type: int
    protocol: int = 0
    mute: Mute = ""
    kind: Literal["open_socket"] = "open_socket"


@dataclass(frozen=True, slots=True)
class Spawn:
    """A process in an endpoint's namespace, as the caller (ruling 6); 3 descriptors come along:
    its standard input, output and error. Reply: `Spawned`."""

    instance: str
    endpoint: str
    argv: tuple[str, ...]
    cwd: str
    environment: tuple[tuple[str, str], ...]
    kind: Literal["spawn"] = "spawn"


@dataclass(frozen=True, slots=True)
class Spawned:
    pid: int
    kind: Literal["spawned"] = "spawned"


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a spawned process. Reply: `Exited`, or `Done` when `timeout` (seconds) has passed."""

    pid: int
    timeout: float | None = None
    kind: Literal["wait"] = "wait"


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to a spawned process. Reply: `Done`."""

    pid: int
    signal: int
    kind: Literal["signal"] = "signal"


@dataclass(frozen=True, slots=True)
class Exited:
    pid: int
    exit_status: int
    kind: Literal["exited"] = "exited"


@dataclass(frozen=True, slots=True)
class ChangeVnf:
    """Stop, start, restart, … a VNF (ruling 9). `grace` in seconds, None: the plan's. Reply: `Changed`."""

    instance: str
    endpoint: str
    verb: VnfVerb
    grace: float | None = None
    kind: Literal["change_vnf"] = "change_vnf"


@dataclass(frozen=True, slots=True)
class DescribeVnf:
    """What one VNF's container is doing. Reply: `Changed`."""

    instance: str
    endpoint: str
    kind: Literal["describe_vnf"] = "describe_vnf"


@dataclass(frozen=True, slots=True)
class Changed:
    container: ContainerState
    kind: Literal["changed"] = "changed"


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file or folder inside a VNF, opened for reading from outside. Reply: `Done` + 1 descriptor."""

    instance: str
    endpoint: str
    path: str
    kind: Literal["open_file"] = "open_file"


@dataclass(frozen=True, slots=True)
class SignalInside:
    """Send a signal to the session of an exec in a VNF; `pid` as this machine numbers it. Reply: `Done`."""

    instance: str
    endpoint: str
    pid: int
    signal: int
    kind: Literal["signal_inside"] = "signal_inside"


@dataclass(frozen=True, slots=True)
class SetSysctl:
    """Set a `net.*` key in an endpoint's namespace. Reply: `Sysctl` with the value before."""

    instance: str
    endpoint: str
    name: str
    value: str
    kind: Literal["set_sysctl"] = "set_sysctl"


@dataclass(frozen=True, slots=True)
class Impair:
    """Impair what `target` names: a PoP link ("pop1-pop2"), a virtual link ("firewall/link-1") or an
    interface ("firewall/fw:input"); both None: as the topology has it. Reply: `Done`."""

    target: str
    forward: Impairment | None
    backward: Impairment | None
    kind: Literal["impair"] = "impair"


@dataclass(frozen=True, slots=True)
class Cut:
    """Cut ends of links off, or mend them (`cut` False); `ends` are interfaces of the fabric. Reply: `Done`.

    "carrier" sets them down, so that the interfaces behind them lose their carrier; "frames" drops what
    they send, which nobody notices. An end stays cut until it was mended for every `cause`.
    """

    instance: str
    ends: tuple[str, ...]
    how: CutKind
    cause: str
    cut: bool = True
    kind: Literal["cut"] = "cut"


@dataclass(frozen=True, slots=True)
class Forward:
    """Make a port of an endpoint reachable from outside, on 127.0.0.1. `outer` None: as any free port.
    Reply: `Forwarded`; a port that is forwarded already stays as it is."""

    instance: str
    endpoint: str
    port: int
    protocol: Literal["tcp", "udp"] = "tcp"
    outer: int | None = None
    kind: Literal["forward"] = "forward"


@dataclass(frozen=True, slots=True)
class Unforward:
    """End a forward, known by its outer port, and its connections. Reply: `Done`."""

    instance: str
    endpoint: str
    outer: int
    kind: Literal["unforward"] = "unforward"


@dataclass(frozen=True, slots=True)
class ForwardedPort:
    """A port of an endpoint and the one on 127.0.0.1 that stands for it."""

    endpoint: str
    port: int
    protocol: Literal["tcp", "udp"]
    outer: int


@dataclass(frozen=True, slots=True)
class Forwarded:
    port: ForwardedPort
    kind: Literal["forwarded"] = "forwarded"


@dataclass(frozen=True, slots=True)
class Describe:
    """What is there now. Reply: `BedState`."""

    kind: Literal["describe"] = "describe"


@dataclass(frozen=True, slots=True)
class InstanceState:
    plan: DeploymentPlan
    containers: tuple[ContainerState, ...]
    forwards: tuple[ForwardedPort, ...] = ()


@dataclass(frozen=True, slots=True)
class BedState:
    allocations: Allocations
    instances: tuple[InstanceState, ...] = ()
    notes: tuple[str, ...] = ()
    kind: Literal["bed_state"] = "bed_state"


@dataclass(frozen=True, slots=True)
class Keep:
    """Turn the bed's lease into a clock: it lives for `seconds` more, whoever is connected. Reply: `Done`."""

    seconds: float
    kind: Literal["keep"] = "keep"


@dataclass(frozen=True, slots=True)
class End:
    """End the bed. Reply: `Done`, when nothing of it is left but the keeper's own exit."""

    kind: Literal["end"] = "end"


@dataclass(frozen=True, slots=True)
class Done:
    kind: Literal["done"] = "done"


@dataclass(frozen=True, slots=True)
class Progress:
    """A line for a person while a long request runs."""

    text: str
    kind: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class Failure:
    """A request failed; `error` names a class of `errors.py`, `reason` is for programs ("stale", …)."""

    error: str
    message: str
    reason: str = ""
    details: tuple[str, ...] = field(default=())
    kind: Literal["failure"] = "failure"


_Lifetime = Boot | Attach | Keep | End
_Change = Apply | Amend | Undo | ChangeVnf | SetSysctl | Impair | Cut | Forward | Unforward
_Look = Describe | DescribeVnf | readings.Reading
_Process = Spawn | Wait | Signal | SignalInside
Request = _Lifetime | _Change | _Look | _Process | OpenSocket | OpenFile
_State = Booted | Applied | Changed | Forwarded | BedState
Reply = _State | readings.Seen | Spawned | Exited | Done | Progress | Failure
ReplyKind = TypeVar("ReplyKind", bound=Reply)

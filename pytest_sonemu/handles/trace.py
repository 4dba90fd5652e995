"""The way that real conversations take through a service, seen at every outer end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_sonemu.errors import NotFoundError, ProbeError
from pytest_sonemu.handles.arguments import port_number, seconds, whole_number
from pytest_sonemu.handles.capture import Capture, Post, resolver
from pytest_sonemu.handles.conversation import Conversation, Subject
from pytest_sonemu.handles.sightings import stations
from pytest_sonemu.handles.targets import Family, Place, Spot, Target, find_spot, find_target
from pytest_sonemu.handles.trace_results import PathCheck, Trace
from pytest_sonemu.handles.tracking import follow
from pytest_sonemu.planning.plan import DeploymentPlan, PathPlan

if TYPE_CHECKING:
    from pytest_sonemu.handles.core import BedCore

# Enough for headers and the token behind whatever a proxy puts before it.
_SNAP = 2048
_FILTERS = {"tcp": "tcp or icmp", "http": "tcp or icmp", "udp": "udp or icmp", "icmp": "icmp"}


def trace(
    bed: BedCore,
    plan: DeploymentPlan,
    source: Place,
    target: Place,
    *,
    tcp: int | None = None,
    udp: int | None = None,
    icmp: bool = False,
    http: str | bool | None = None,
    count: int = 1,
    listen: bool = True,
    timeout: float | str = 1.0,
    family: Family | None = None,
) -> Trace:
    """Hold `count` conversations, one after the other, and follow each; see `Service.trace`."""
    whole_number(count)
    patience = seconds(timeout)
    start = find_spot(plan, source)
    end = find_target(plan, target, start.endpoint, family)
    subject = _subject(plan, end, tcp, udp, icmp=icmp, http=http)
    places = {station.at: station for station in stations(plan).values()}
    posts = [Post(outer, station.at) for outer, station in stations(plan).items()]
    conversation = Conversation(bed.client, plan, start, end, subject, listen, patience)
    hops = 2 * len(plan.links) + 2
    where, wanted = f"all of {plan.instance}", _FILTERS[subject.protocol]
    capture = Capture(bed, where, lambda: posts, wanted, hops=hops, snap=_SNAP, told=False)
    with capture:
        talks = [conversation.hold() for _ in range(count)]
    runs = tuple(
        follow(capture.packets, places, start.endpoint.id, end.endpoint, talk, plan.paths) for talk in talks
    )
    if any(run.lost_at for run in runs) and (absent := bed.not_running(plan.instance)):
        runs = tuple(replace(run, reason=f"{absent}; {run.reason}") if run.lost_at else run for run in runs)
    port = subject.port if subject.protocol != "icmp" else None
    found = Trace(str(start), end.text, subject.protocol, port, runs)
    blame = next((run.lost_at for run in runs if run.lost_at), None) or ""
    bed.journal.note("probe", repr(found), start.endpoint.id, failed=bool(found.lost), blame=blame)
    return found


def check_path(bed: BedCore, plan: DeploymentPlan, path: PathPlan, **how: object) -> PathCheck:
    """Trace along a forwarding path and compare."""
    source = find_spot(plan, path.stations[0])
    names = [_station(plan, station) for station in path.stations]
    expected = [name for name, owner in names if owner != source.endpoint.id]
    if not expected:
        raise ProbeError(f"forwarding path {path.id} never leaves {source.endpoint.id}")
    if not how:
        how = {"tcp": 80}
    run = trace(bed, plan, source.endpoint.id, path.stations[-1], **how).runs[0]  # type: ignore[arg-type]
    hops = run.hops
    return PathCheck(
        path=path.id,
        expected=tuple(expected),
        trace=run,
        skipped=tuple(name for name in expected if name not in hops),
        extra=tuple(hop for hop in hops if hop not in expected),
    )


def find_path(plan: DeploymentPlan, path_id: str) -> PathPlan:
    """A forwarding path of the plan. Raises NotFoundError."""
    for path in plan.paths:
        if path.id == path_id:
            return path
    raise NotFoundError("forwarding path", path_id, [path.id for path in plan.paths])


def _station(plan: DeploymentPlan, station: str) -> tuple[str, str]:
    """What a hop there is called, and whose it is."""
    from pytest_sonemu.handles.sightings import label

    spot: Spot = find_spot(plan, station)
    interface = spot.interface or (
        spot.endpoint.interfaces[0] if len(spot.endpoint.interfaces) == 1 else None
    )
    return (label(spot.endpoint, interface) if interface is not None else station), spot.endpoint.id


def _subject(
    plan: DeploymentPlan,
    end: Target,
    tcp: int | None,
    udp: int | None,
    *,
    icmp: bool,
    http: str | bool | None,
) -> Subject:
    by_http = http is not None and http is not False
    if (udp is not None) + icmp + (by_http or tcp is not None) != 1:
        raise ProbeError("trace needs one of tcp=80, udp=53, icmp=True and http=True (or a path or URL)")
    if icmp:
        return Subject("icmp")
    if udp is not None:
        return Subject("udp", port_number(udp, "udp"))
    if not by_http:
        return Subject("tcp", port_number(tcp, "tcp"))
    text = "/" if http is True else str(http)
    url = urlsplit(text)
    if url.scheme not in ("", "http"):
        raise ProbeError(f"a trace recognises its token in plain HTTP only, not in {url.scheme}")
    host = url.netloc or end.text.partition(":")[0]
    try:
        named = 80 if url.port is None else url.port
    except ValueError as error:
        raise ProbeError(f"http: {text!r} cannot be read as a URL: {error}") from None
    port = port_number(named, "http") if tcp is None else port_number(tcp, "tcp")
    path = url._replace(scheme="", netloc="").geturl() or "/"
    if url.hostname and not _is(plan, url.hostname, end):
        path = text  # to a proxy, which is told the whole URL
    return Subject("http", port, path, host)


def _is(plan: DeploymentPlan, host: str, end: Target) -> bool:
    if host == str(end.address):
        return True
    try:
        addresses = list(resolver(plan)(host))
    except NotFoundError:
        return False
    return end.address in addresses

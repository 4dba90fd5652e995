"""What is proved of a running service, whatever it is for. Each check returns what is wrong, a line each."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_sonemu.planning.plan import DeploymentPlan, EndpointPlan, PathPlan

if TYPE_CHECKING:
    from pytest_sonemu.emulation.client import BedClient
    from pytest_sonemu.emulation.protocol import ContainerState
    from pytest_sonemu.handles.policy_table import PolicyRule
    from pytest_sonemu.handles.service import Service
    from pytest_sonemu.packages.expectations import Expectations
    from pytest_sonemu.planning.option_models import ServiceOptions

# A VNF that falls over does so soon.
STAYS_SECONDS = 3.0
# What has not come by then does not come.
POLICY_SECONDS = 1.0
# Docker removes a container behind the stop's back.
GONE_SECONDS = 10.0


class Unjudged(Exception):
    """Nothing can be said of it; the message says why."""


def fallen(service: Service, options: ServiceOptions) -> list[str]:
    """VNFs that do not run, once each has had the time to fall over."""
    del options
    units = [service.vnf(unit.id) for unit in _units(service.plan)]
    while True:
        states = {unit.id: unit.state for unit in units}
        ended = {name: state for name, state in states.items() if state.phase != "running"}
        ages = [_age(state) for state in states.values()]
        if ended or all(age >= STAYS_SECONDS for age in ages):
            break
        time.sleep(min(0.2, STAYS_SECONDS - min(ages)))
    found = [f"{name} {_fate(state)}\n{_last_lines(service, name)}" for name, state in ended.items()]
    return found + [
        f"{name}: its entry script ended with {state.entry_exit_status}\n{_last_lines(service, name)}"
        for name, state in states.items()
        if name not in ended and state.entry_exit_status
    ]


def _age(state: ContainerState) -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) - state.start_time / os.sysconf("SC_CLK_TCK")


def _fate(state: ContainerState) -> str:
    status = f" with {state.exit_status}" if state.exit_status is not None else ""
    return f"is {state.phase}{status}{', out of memory' if state.out_of_memory else ''}"


def _last_lines(service: Service, unit: str) -> str:
    lines = [line.text for line in service.vnf(unit).log_lines(since=0)][-5:]
    return "\n".join(f"    {line}" for line in lines) or "    it has written nothing"


def loose_limits(service: Service, options: ServiceOptions) -> list[str]:
    """Limits that Docker does not hold as they were planned, or that nobody has asked for."""
    del options
    found = []
    for unit in _units(service.plan):
        plan = unit.container
        assert plan is not None
        host = service.vnf(unit.id).container.attrs["HostConfig"]
        period = host.get("CpuPeriod") or 100_000
        cpu = (host.get("NanoCpus") or 0) / 1e9 or (host.get("CpuQuota") or 0) / period
        if abs(cpu - (plan.cpu or 0)) > 0.001:
            found.append(f"{unit.id}: Docker holds {cpu:g} CPU, planned are {plan.cpu or 'no limit'}")
        memory = host.get("Memory") or 0
        if memory != (plan.memory or 0):
            found.append(f"{unit.id}: Docker holds {memory} bytes, planned are {plan.memory or 'no limit'}")
        ids = ",".join(str(number) for number in plan.cpu_ids if number < (os.cpu_count() or 1))
        if (host.get("CpusetCpus") or "") != ids:  # those that the machine does not have cannot be held
            found.append(f"{unit.id}: Docker holds CPU ids '{host.get('CpusetCpus')}', planned are {ids}")
    return found


def leaking(service: Service, options: ServiceOptions) -> list[str]:
    """Frames on links where they do not belong."""
    from pytest_sonemu.packages.frames import leaks

    found = leaks(service, transparent_pairs(service.plan, options))
    if found:
        found.append("(a VNF that passes frames on unchanged says so in sonemu.yml: transparent: true)")
    return found


def transparent_pairs(plan: DeploymentPlan, options: ServiceOptions) -> Mapping[str, tuple[str, ...]]:
    """The interfaces between which each transparent VNF passes frames on."""
    management = {link.id for link in plan.links if link.management}
    pairs: dict[str, tuple[str, ...]] = {}
    for unit in _units(plan):
        asked = options.vnf(unit.id).transparent
        data = [each for each in unit.interfaces if each.link is not None and each.link not in management]
        if isinstance(asked, tuple):
            pairs[unit.id] = tuple(each.name for each in data if each.connection_point in asked)
        elif asked:
            pairs[unit.id] = tuple(each.name for each in data)
    return pairs


def link_check(link_id: str) -> Callable[[Service, ServiceOptions], list[str]]:
    """Every end of a virtual link reaches every other that it may reach."""

    def check(service: Service, options: ServiceOptions) -> list[str]:
        del options
        from pytest_sonemu.packages.frames import unproved

        link = service.plan.link(link_id)
        if link is None or len(link.ends) < 2:
            raise Unjudged(f"{link_id} has no two ends to send between")
        return unproved(service, link)

    return check


def policy_name(rule: PolicyRule) -> str:
    """What the test of a row is called; no shell wants it quoted."""
    return "-".join(cell for cell in rule.cells if cell != "-")


def policy_check(rule: PolicyRule) -> Callable[[Service, ServiceOptions], list[str]]:
    """Whether a row of the policy holds, judged as `Service.policy` judges it."""

    def check(service: Service, options: ServiceOptions) -> list[str]:
        between = [unit for unit in _units(service.plan) if unit.id.partition(".")[0] not in _named(rule)]
        _no_stand_in(service, between, options, "its rules are not there")
        return [
            f"the policy has '{rule.verdict}' for {' '.join(rule.cells[:4])}: {row.probe!r}"
            for row in service.policy([rule], timeout=POLICY_SECONDS).differences
        ]

    return check


def path_check(path_id: str, expectations: Expectations) -> Callable[[Service, ServiceOptions], list[str]]:
    """Whether a conversation crosses the stations of a forwarding path, each once and in order."""

    def check(service: Service, options: ServiceOptions) -> list[str]:
        named, how = expectations.path(path_id)
        if how is None:
            raise Unjudged("sonemu.yml says not to")
        plan = next(path for path in service.plan.paths if path.id == path_id)
        between = _between(service.plan, plan)
        _no_stand_in(service, between, options, "whether it passes packets on is not the package's doing")
        silent = [unit.id for unit in between if not (named or _passes_on(unit))]
        if silent:
            raise Unjudged(
                f"nothing says that {', '.join(silent)} passes packets on; sonemu.yml can, by transparent"
                f" or by paths: {{{path_id}: true}}"
            )
        result = service.path(path_id).is_followed(**_conversation(how))
        return [] if result else [repr(result)]

    return check


def _conversation(how: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in how.items() if value is not False}


def _between(plan: DeploymentPlan, path: PathPlan) -> list[EndpointPlan]:
    """The VNFs that a path crosses, without those in which it begins and ends."""
    inner = [station.partition(":")[0] for station in path.stations]
    middle = dict.fromkeys(inner)
    for end in (inner[0], inner[-1]):
        middle.pop(end, None)
    return [unit for unit in _units(plan) if unit.id in middle or (unit.unit_of or "") in middle]


def _passes_on(unit: EndpointPlan) -> bool:
    return unit.transparent or dict(unit.sysctls).get("net.ipv4.ip_forward") == "1"


def _no_stand_in(service: Service, units: list[EndpointPlan], options: ServiceOptions, why: str) -> None:
    for unit in units:
        image = unit.container.image if unit.container is not None else None
        if image is not None and image.stand_in and options.vnf(unit.id).command is None:
            raise Unjudged(f"{image.reference} stands in for the image of {unit.id}: {why}")


def _named(rule: PolicyRule) -> set[str]:
    return {rule.source.partition(":")[0], rule.target.partition(":")[0]}


def _units(plan: DeploymentPlan) -> list[EndpointPlan]:
    return [
        endpoint for endpoint in plan.endpoints if endpoint.container is not None and endpoint.kind == "vnf"
    ]


def left_by(client: BedClient, plan: DeploymentPlan) -> list[str]:
    """What a stopped instance has left on its bed: in the keeper's books, in Docker, in the fabric."""
    from pytest_sonemu.emulation import docker_api
    from pytest_sonemu.handles.interfaces import read_outer

    found = []
    if any(state.plan.instance == plan.instance for state in client.describe().instances):
        found.append(f"the bed still lists {plan.instance}")
    made = {each.outer for endpoint in plan.endpoints for each in endpoint.interfaces}
    made |= {bridge.name for link in plan.links for bridge in link.bridges}
    made |= {name for link in plan.links for joint in link.joints for name in (joint.a, joint.b)}
    found += [f"interface {name} is still there" for name in sorted(made & set(read_outer(client)))]
    names = {endpoint.container.name for endpoint in plan.endpoints if endpoint.container is not None}
    with docker_api.connect() as docker:
        deadline = time.monotonic() + GONE_SECONDS
        while left := _containers(docker, client.name, names):
            if time.monotonic() > deadline:
                found += [f"container {name} is still there" for name in sorted(left)]
                break
            time.sleep(0.1)
    return found


def _containers(docker: Any, bed: str, names: set[str]) -> set[str]:
    labelled = docker.containers(all=True, filters={"label": f"sonemu.testbed={bed}"})
    there = {name.lstrip("/") for container in labelled for name in container["Names"]}
    # One that is on its way out has been given another name.
    return {name for name in there if name in names or name.startswith(f"sonemu-{bed}-gone-")}

"""pytest-sonemu: an emulated NFV infrastructure for tests, and service packages that run on it.

from pytest_sonemu import TestBed

with TestBed("two-pops.yml") as bed:
    fw = bed.start("firewall.son")
    assert fw.connect("input", "server", tcp=23).outcome == "dropped"
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_sonemu import errors as errors
    from pytest_sonemu.descriptors.model import NetworkFunction as NetworkFunction
    from pytest_sonemu.descriptors.model import NetworkService as NetworkService
    from pytest_sonemu.handles.endpoint import Endpoint as Endpoint
    from pytest_sonemu.handles.flow import Flow as Flow
    from pytest_sonemu.handles.flow_results import FlowStats as FlowStats
    from pytest_sonemu.handles.flow_results import Gap as Gap
    from pytest_sonemu.handles.flow_task import FlowTask as FlowTask
    from pytest_sonemu.handles.flow_task import Generator as Generator
    from pytest_sonemu.handles.link import Link as Link
    from pytest_sonemu.handles.policy_table import PolicyResult as PolicyResult
    from pytest_sonemu.handles.policy_table import PolicyRow as PolicyRow
    from pytest_sonemu.handles.policy_table import PolicyRule as PolicyRule
    from pytest_sonemu.handles.replay_results import Replay as Replay
    from pytest_sonemu.handles.replay_results import ReplayedPacket as ReplayedPacket
    from pytest_sonemu.handles.results import CommandResult as CommandResult
    from pytest_sonemu.handles.results import ConnectResult as ConnectResult
    from pytest_sonemu.handles.results import DirectionStats as DirectionStats
    from pytest_sonemu.handles.results import Interface as Interface
    from pytest_sonemu.handles.results import InterfaceStats as InterfaceStats
    from pytest_sonemu.handles.results import LinkStats as LinkStats
    from pytest_sonemu.handles.results import OuterAddress as OuterAddress
    from pytest_sonemu.handles.results import PathVerdict as PathVerdict
    from pytest_sonemu.handles.results import PingResult as PingResult
    from pytest_sonemu.handles.results import Rtt as Rtt
    from pytest_sonemu.handles.results import Sighting as Sighting
    from pytest_sonemu.handles.sap import Sap as Sap
    from pytest_sonemu.handles.schedule import flap as flap
    from pytest_sonemu.handles.schedule import ramp as ramp
    from pytest_sonemu.handles.service import Service as Service
    from pytest_sonemu.handles.testbed import TestBed as TestBed
    from pytest_sonemu.handles.throughput import Throughput as Throughput
    from pytest_sonemu.handles.vnf import Vnf as Vnf
    from pytest_sonemu.relay.model import Bursts as Bursts
    from pytest_sonemu.sharing.factories import bed_fixture as bed_fixture
    from pytest_sonemu.sharing.factories import service_fixture as service_fixture
    from pytest_sonemu.topology.model import PoP as PoP
    from pytest_sonemu.topology.model import PopLink as PopLink
    from pytest_sonemu.topology.model import Topology as Topology

__version__ = "0.1.0"

# Loaded when first asked for: importing the package, and pytest loading the plugin, stay cheap.
_HOMES = {
    "Bursts": "relay.model",
    "CommandResult": "handles.results",
    "ConnectResult": "handles.results",
    "DirectionStats": "handles.results",
    "Endpoint": "handles.endpoint",
    "Flow": "handles.flow",
    "FlowStats": "handles.flow_results",
    "FlowTask": "handles.flow_task",
    "Gap": "handles.flow_results",
    "Generator": "handles.flow_task",
    "Interface": "handles.results",
    "InterfaceStats": "handles.results",
    "Link": "handles.link",
    "LinkStats": "handles.results",
    "NetworkFunction": "descriptors.model",
    "NetworkService": "descriptors.model",
    "OuterAddress": "handles.results",
    "PathVerdict": "handles.results",
    "PingResult": "handles.results",
    "PoP": "topology.model",
    "PolicyResult": "handles.policy_table",
    "PolicyRow": "handles.policy_table",
    "PolicyRule": "handles.policy_table",
    "PopLink": "topology.model",
    "Replay": "handles.replay_results",
    "ReplayedPacket": "handles.replay_results",
    "Rtt": "handles.results",
    "Sap": "handles.sap",
    "Service": "handles.service",
    "Sighting": "handles.results",
    "TestBed": "handles.testbed",
    "flap": "handles.schedule",
    "ramp": "handles.schedule",
    "Throughput": "handles.throughput",
    "Topology": "topology.model",
    "Vnf": "handles.vnf",
    "bed_fixture": "sharing.factories",
    "service_fixture": "sharing.factories",
}

__all__ = [
    "Bursts",
    "CommandResult",
    "ConnectResult",
    "DirectionStats",
    "Endpoint",
    "Flow",
    "FlowStats",
    "FlowTask",
    "Gap",
    "Generator",
    "Interface",
    "InterfaceStats",
    "Link",
    "LinkStats",
    "NetworkFunction",
    "NetworkService",
    "OuterAddress",
    "PathVerdict",
    "PingResult",
    "PoP",
    "PolicyResult",
    "PolicyRow",
    "PolicyRule",
    "PopLink",
    "Replay",
    "ReplayedPacket",
    "Rtt",
    "Sap",
    "Service",
    "Sighting",
    "TestBed",
    "Throughput",
    "Topology",
    "Vnf",
    "__version__",
    "bed_fixture",
    "errors",
    "flap",
    "ramp",
    "service_fixture",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "errors":
        return import_module("pytest_sonemu.errors")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

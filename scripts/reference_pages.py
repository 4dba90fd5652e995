"""Which page of the reference has which names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """A page of the reference: where it lies, what it is about, and the names on it as `module:name`."""

    file: str
    title: str
    lead: str
    names: tuple[str, ...]


PAGES = (
    Page(
        "pytest.md",
        "Fixtures, factories, hooks",
        "What a test file uses. The keys of the marker `sonemu` and the command line's options are in"
        " [the README](../../README.md#reference), options of VNFs in"
        " [the guide](../guide.md#options-of-a-vnf).",
        (
            "short_names:service",
            "short_names:testbed",
            "short_names:gatekeeper",
            "plugin:sonemu_topology",
            "plugin:sonemu_package",
            "plugin:sonemu_settings",
            "sharing.factories:bed_fixture",
            "sharing.factories:service_fixture",
            "hooks:pytest_sonemu_testbed_ready",
            "hooks:pytest_sonemu_service_ready",
            "hooks:pytest_sonemu_flow_generator",
        ),
    ),
    Page(
        "testbed.md",
        "Test beds and topologies",
        "The infrastructure: PoPs, the links between them, and what runs there.",
        (
            "handles.testbed:TestBed",
            "handles.pop_link:PopLinkHandle",
            "topology.model:Topology",
            "topology.model:PoP",
            "topology.model:PopLink",
        ),
    ),
    Page(
        "services.md",
        "Services",
        "A service as it is described, and as it runs.",
        (
            "handles.service:Service",
            "descriptors.model:NetworkService",
            "descriptors.model:NetworkFunction",
            "descriptors.model:ConnectionPoint",
            "descriptors.model:Resources",
        ),
    ),
    Page(
        "endpoints.md",
        "Endpoints: VNFs, SAPs and hosts",
        'Wherever an endpoint is meant, its id (`"server"`), a connection point (`"server:data"`), a handle'
        " or an address do. What all endpoints can do is said of `Endpoint` alone.",
        (
            "handles.endpoint:Endpoint",
            "handles.vnf:Vnf",
            "handles.sap:Sap",
            "handles.sap:Host",
            "handles.interface:InterfaceHandle",
            "handles.results:Interface",
            "handles.results:InterfaceStats",
            "handles.results:OuterAddress",
            "handles.results:CommandResult",
            "handles.background:BackgroundProcess",
            "handles.watching:Watch",
            "handles.watching:Absence",
            "handles.logs:LogLine",
            "handles.waiting:Readiness",
            "handles.usage:Usage",
            "handles.usage:Limits",
            "emulation.protocol:ContainerState",
        ),
    ),
    Page(
        "links.md",
        "Links and impairments",
        "Virtual links of a service; PoP links, on [the page of test beds](testbed.md#class-poplinkhandle),"
        " are impaired and taken down alike.",
        (
            "handles.link:Link",
            "handles.results:LinkStats",
            "handles.results:DirectionStats",
            "handles.cutting:Down",
            "handles.schedule:Schedule",
            "handles.schedule:ramp",
            "handles.schedule:flap",
            "relay.model:Impairment",
            "relay.model:Bursts",
        ),
    ),
    Page(
        "probes.md",
        "Results of probes",
        "What `ping`, `connect`, `policy`, `throughput`, `trace` and `is_followed` give. Times are in"
        " seconds, sizes in bytes, rates in bit/s. A `repr` says the diagnosis in one line.",
        (
            "handles.results:PingResult",
            "handles.results:Rtt",
            "handles.results:ConnectResult",
            "handles.results:PathVerdict",
            "handles.results:Sighting",
            "handles.policy_table:PolicyResult",
            "handles.policy_table:PolicyRow",
            "handles.policy_table:PolicyRule",
            "handles.throughput:Throughput",
            "handles.trace_results:Trace",
            "handles.trace_results:TraceRun",
            "handles.trace_results:Segment",
            "handles.trace_results:Crossing",
            "handles.trace_results:Rewrite",
            "handles.path:Path",
            "handles.trace_results:PathCheck",
        ),
    ),
    Page(
        "captures.md",
        "Captures, packets and replays",
        "What `capture` and `replay` give, and what is in it.",
        (
            "handles.capture:Capture",
            "handles.packet_list:Packets",
            "handles.packets:CapturedPacket",
            "handles.packets:Ethernet",
            "handles.packets:Arp",
            "handles.packets:Ip",
            "handles.packets:Tcp",
            "handles.packets:Udp",
            "handles.packets:Icmp",
            "handles.golden:Comparison",
            "handles.golden:Difference",
            "handles.replay_results:Replay",
            "handles.replay_results:ReplayedPacket",
        ),
    ),
    Page(
        "flows.md",
        "Flows",
        "Traffic while something else happens, and what generators of one's own have to do.",
        (
            "handles.flow:Flow",
            "handles.flow_results:FlowStats",
            "handles.flow_results:Gap",
            "handles.flow_task:Generator",
            "handles.flow_task:FlowTask",
        ),
    ),
    Page("errors.md", "Errors", "All of them are `SonemuError`s, and lie in `pytest_sonemu.errors`.", ()),
)
COMMANDS = Page("sonemu.md", "The command line", "Each verb with its arguments and options.", ())

"""The shape of `sonemu.yml`, for the JSON Schema that editors use.

Which options there are is asked of `option_models`; a shape that is missing here fails a test.
"""

from __future__ import annotations

from collections.abc import Mapping

from pytest_sonemu.descriptors.shapes import (
    Anything,
    Choice,
    Document,
    Either,
    Flag,
    Items,
    Named,
    Nothing,
    Number,
    Shape,
    Table,
    Text,
)
from pytest_sonemu.planning.option_models import (
    sap_option_names,
    service_option_names,
    vnf_option_names,
)
from pytest_sonemu.planning.option_values import ADDRESS_PLANS, PLACEMENTS
from pytest_sonemu.topology.schema import (
    ACCESS_FIELDS,
    DELAY,
    DIRECTION_PATTERN,
    IMPAIRMENT_FIELDS,
    ONE_WAY,
    SIZE,
)

_WORD = Text(r"\S", "not empty", loose=True)
_TEXT = Text(loose=True)
_SWITCH = Either((Flag(), Choice(("on", "off", "yes", "no", "true", "false"))))
_ABOVE_ZERO = Either((Number(above=0, most=1e6), Text(r"^\s*[0-9.]+([eE][+-]?[0-9]+)?\s*$", "a number")))
_ADDRESS_RANGE = Text(r"^[0-9a-fA-F.:]+(/[0-9]{1,3})?$", "a network such as 10.1.0.0/16")


def _texts(item: Shape, description: str) -> Shape:
    """A text, or a list of them."""
    return Either((item, Items(item)), description)


def _table(description: str, value: Shape | None = None) -> Shape:
    return Named(value or Either((_TEXT, Nothing())), description=description)


def _time(description: str) -> Shape:
    assert isinstance(DELAY, Either)
    return Either(DELAY.shapes, description)


_MOUNT = r"^[^:]+:/[^:]*(:(ro|rw))?$"
SHAPES: Mapping[str, Shape] = {
    "image": Text(r"\S", "not empty", loose=True, description="The Docker image to run."),
    "build": Text(
        r"\S", "not empty", loose=True, description="A folder with a Dockerfile, beside this file."
    ),
    "mounts": Either(
        (
            Text(_MOUNT, "source:/target[:ro|rw]"),
            Items(Text(_MOUNT, "source:/target[:ro|rw]")),
            Named(Text(r"^/[^:]*(:(ro|rw))?$", "/target[:ro|rw]")),
        ),
        "Files and folders mounted into the container: source:/target[:ro|rw].",
    ),
    "env": _table("Environment variables."),
    "secrets": _table("Environment variables whose values are shown nowhere."),
    "command": _texts(_TEXT, "What runs in place of the image's own command."),
    "cpu": Either(_ABOVE_ZERO.shapes, "The limit in cores: 0.5 is half a core."),
    "memory": SIZE,
    "cap_add": _texts(_TEXT, "Capabilities beside Docker's usual ones and NET_ADMIN."),
    "sysctls": Named(
        _TEXT,
        r"^net\.[A-Za-z0-9_.*/-]+$",
        "names that begin with net.",
        description="Settings of the kernel for this VNF: net.* only.",
    ),
    "ready": _texts(_WORD, "When the VNF is ready: tcp:80, http://:80/, log:text, exec:command, …"),
    "settle": _time("How long nothing must happen until a VNF without 'ready' counts as ready."),
    "ready_timeout": _time("How long a VNF may take to become ready."),
    "routes": Either(
        (Choice(("all", "path", "none")), _ADDRESS_RANGE, Items(_ADDRESS_RANGE)),
        "Which routes VNFs get: along forwarding paths (path), to everything (all), none, or networks.",
    ),
    "transparent": Either(
        (_SWITCH, Items(_TEXT, least=2, most=2)),
        "The VNF passes frames on unchanged: true, or the pair of interfaces it does so between.",
    ),
    "offload": Either(_SWITCH.shapes, "off: segments and checksums are made as on a wire, at a price."),
    "ipv6": Either(_SWITCH.shapes, "IPv6 addresses beside those of IPv4."),
    "mtu": Number(least=68, most=65535, whole=True, description="Bytes of an IP packet."),
    "grace": _time("How long a VNF may take to end before it is killed."),
    "pop": Text(r"\S", "not empty", loose=True, description="The PoP it stands in."),
    "dirty_ignore": _texts(_TEXT, "Files whose change does not count as one made by a test."),
    "interfaces": Named(
        Table(ACCESS_FIELDS, called="an interface"),
        called="interface",
        description="What the cable of an interface does to frames, by connection point: rate, delay, …",
    ),
    "links": Named(
        Table(IMPAIRMENT_FIELDS, called="a link", patterns={DIRECTION_PATTERN: ONE_WAY}),
        called="link",
        description="What a virtual link does to frames, by its id: rate, delay, …, also for one direction.",
    ),
    "uplink": Text(r"\S", "not empty", loose=True, description="A way out of the bed: nat, or an interface."),
    "images": Named(
        Either((_TEXT, Nothing())),
        called="image",
        description="Stand-ins: image name or pattern of a descriptor -> image to run instead.",
    ),
    "placement": Either(
        (
            Choice((*PLACEMENTS, *(name.replace("-", "_") for name in PLACEMENTS if "-" in name))),
            Named(_TEXT),
        ),
        "How VNFs are placed: by a name, or a mapping from vnf_id to PoP.",
    ),
    "no_new_privileges": Either(_SWITCH.shapes, "No program may gain rights: no sudo, no file capabilities."),
    "container_names": Choice(
        ("sonemu", "mn"), "mn: containers are called mn.<vnf_id>, as old clients want."
    ),
    "address_plan": Choice(ADDRESS_PLANS, "Which addresses virtual links get."),
    "overprovision": Either(_ABOVE_ZERO.shapes, "PoPs are filled up to so many times their capacity."),
}


def _options(names: tuple[str, ...], called: str) -> Table:
    """The options of these names. A `-` in a key is as good as a `_`, and empty is as good as unsaid."""
    fields: dict[str, Shape] = {}
    for name in names:
        fields[name] = Either((SHAPES.get(name, Anything()), Nothing()))
    return Table(fields, called=called)


def _table_of(names: tuple[str, ...], called: str, description: str) -> Shape:
    return Either(
        (
            Named(Either((_options(names, called), Nothing())), called=called, description=description),
            Nothing(),
        )
    )


_SERVICE = tuple(name for name in service_option_names() if name not in ("vnfs", "saps"))
POLICY = Items(
    Table(
        {
            "from": _WORD,
            "to": _WORD,
            "proto": Choice(("tcp", "udp", "icmp")),
            "port": Number(least=1, most=65535, whole=True),
            "verdict": Choice(("allow", "deny", "drop", "reject")),
        },
        required=("from", "to", "verdict"),
        called="a row of the policy",
    ),
    description="Who may reach whom on which port, proved by a probe each; rows of ICMP have no port.",
)
_PORT = Number(least=1, most=65535, whole=True)
PATHS = Named(
    Either(
        (
            Flag(),
            Table(
                {"tcp": _PORT, "udp": _PORT, "icmp": Flag(), "http": Either((Flag(), _TEXT))}, called="path"
            ),
        )
    ),
    called="path",
    description="Forwarding paths whose VNFs pass packets on, and what is sent along them.",
)
# What else a `sonemu.yml` says: of a package's own tests (`handles.starting.OTHER_KEYS`).
_OTHER: dict[str, Shape] = {
    "topology": Text(loose=True, description="The topology file, beside this file."),
    "scope": Text(loose=True, description="How long an instance is shared: function, class, module, …"),
    "policy": Either((POLICY, Nothing())),
    "paths": Either((PATHS, Nothing())),
}
OPTIONS = Document(
    "sonemu.yml",
    "How a service package runs in tests: images, commands, readiness, placement, addresses.",
    Table(
        {
            "vnfs": _table_of(tuple(vnf_option_names()), "VNF", 'Options by vnf_id; "*" is for all of them.'),
            "saps": _table_of(tuple(sap_option_names()), "SAP", "Options by the SAP's id."),
            **_options(_SERVICE, "the options").fields,
            **_OTHER,
        },
        called="sonemu.yml",
    ),
)

"""The shape of topology files: what the reader knows, and the JSON Schema for editors."""

from __future__ import annotations

from pytest_sonemu.descriptors.shapes import (
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

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
_NAME_SAYS = "letters, digits, '_', '.', '-', at most 63"
ACCESS_PATTERN = r"^[^:]+:.+$"
NAME = Text(NAME_PATTERN, _NAME_SAYS, loose=True)
FABRICS = ("auto", "openvswitch")
MTU = (68, 65_535)
_AMOUNT = r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"


def quantity(units: str, says: str, description: str) -> Shape:
    """A number, or a text of a number and one of `units`."""
    return Either((Number(least=0), Text(rf"^\s*\+?{_AMOUNT}\s*({units})\s*$", says)), description)


_SIZES = "|[kKmMgGtT]?([iI]?[bB])?"
SIZE = quantity(_SIZES, "512M, 4GiB", "In bytes, or with a unit: 512M, 4GiB.")
_TIMES = "|[munµ]?s(ec)?|m|min|h"
DELAY = quantity(_TIMES, "50ms, 2s", "One way; in seconds, or with a unit: 50ms.")
RATE = quantity(
    "|[kKmMgGtT]?([bB][iI][tT](/[sS])?|b[pP][sS]|BPS|b/[sS])",
    "10Mbit, 1Gbit",
    "In bit/s, or with a unit: 10Mbit.",
)
LOSS = quantity("|%", "1%, 0.01", "The share of packets lost: 1%, or 0.01.")


def _share(what: str) -> Shape:
    return quantity("|%", "1%, 0.01", f"The share of packets {what}: 1%, or 0.01.")


def _time(description: str) -> Shape:
    return quantity(_TIMES, "50ms, 2s", description)


# What a link does to frames; the keys are those of `impairment_names`.
IMPAIRMENT_FIELDS: dict[str, Shape] = {
    "rate": RATE,
    "burst": quantity(_SIZES, "15K, 1M", "Bytes that may go at once after a pause."),
    "queue_packets": Number(least=1, whole=True, description="The most frames that wait for the rate."),
    "queue_bytes": quantity(_SIZES, "64K, 1M", "The most bytes that wait for the rate."),
    "delay": DELAY,
    "jitter": _time("How far delays differ to either side: 5ms."),
    "distribution": Choice(("uniform", "normal", "pareto"), "Of the jitter."),
    "jitter_reorders": Flag("Jitter may change the order of frames."),
    "loss": LOSS,
    "loss_correlation": _share("whose fate is that of the one before"),
    "bursts": Table(
        {name: _share(f"for '{name}'") for name in ("enter", "leave", "bad", "good")},
        required=("enter", "leave"),
        called="bursts",
        description="Losses in bursts: at which shares of packets they begin and end.",
    ),
    "duplicate": _share("that come twice"),
    "reorder": _share("that come late, behind others"),
    "reorder_gap": Number(least=1, most=10_000, whole=True, description="Behind how many others."),
    "reorder_delay": _time("How long they wait for those at most: 50ms."),
    "corrupt": _share("of which a bit is flipped"),
    "seed": Number(least=0, whole=True, description="What is drawn; else it comes from the run's seed."),
}
ONE_WAY = Either((Table(IMPAIRMENT_FIELDS, called="a direction"), Nothing()))
DIRECTION_PATTERN = "->"

POP_FIELDS: dict[str, Shape] = {
    "cpu": Either(
        (Number(least=0), Text(rf"^{_AMOUNT}$", "a number")),
        "Cores that VNFs placed here may ask for together.",
    ),
    "memory": SIZE,
    "name": NAME,
}
LINK_FIELDS: dict[str, Shape] = {
    "between": Items(NAME, least=2, most=2, description="The two PoPs."),
    **IMPAIRMENT_FIELDS,
    "mtu": Number(least=MTU[0], most=MTU[1], whole=True, description="Bytes of an IP packet."),
}
ACCESS_FIELDS: dict[str, Shape] = {**IMPAIRMENT_FIELDS, "out": ONE_WAY, "in": ONE_WAY}
HOST_FIELDS: dict[str, Shape] = {"pop": NAME, "name": NAME}
_IMAGE = Text(loose=True, description="An image that stands behind the SAP as a server or client.")
_UPLINK = Text(loose=True, description="A way out of the bed: nat, or an interface.")
SAP_FIELDS: dict[str, Shape] = {"pop": NAME, "image": _IMAGE, "uplink": _UPLINK, "name": NAME}


def _entries(fields: dict[str, Shape], called: str, description: str, *shorter: Shape) -> Shape:
    """A mapping from names to options, or a list of names and mappings with a name."""
    table = Table(fields, called=called)
    named = Named(Either((table, *shorter)), NAME_PATTERN, _NAME_SAYS, called, description)
    listed = Items(Either((NAME, Table(fields, required=("name",), called=called))))
    return Either((named, listed), description)


ROOT_FIELDS: dict[str, Shape] = {
    "name": Text(loose=True, description="The topology's name; without it the file's."),
    "pops": _entries(POP_FIELDS, "PoP", "The points of presence, where VNFs run.", Nothing()),
    "links": Items(
        Either(
            (
                Items(NAME, least=2, most=2),
                Table(
                    LINK_FIELDS,
                    required=("between",),
                    called="a PoP link",
                    patterns={DIRECTION_PATTERN: ONE_WAY},
                ),
            )
        ),
        description="Links between PoPs: [pop1, pop2], or a mapping with delay, rate, loss, mtu, …",
    ),
    "hosts": _entries(HOST_FIELDS, "host", "Machines of the infrastructure itself.", NAME),
    "saps": _entries(SAP_FIELDS, "SAP", "Where the SAPs of services stand.", NAME, Nothing()),
    "access": Named(
        Table(ACCESS_FIELDS, called="an access link"),
        ACCESS_PATTERN,
        "an endpoint and one of its connection points: fw:input",
        called="access link",
        description="Cables of single interfaces: fw:input -> delay, rate, loss, also for one direction.",
    ),
    "images": Named(
        Text(loose=True),
        called="image",
        description="Stand-ins: image name or pattern of a descriptor -> image to run instead.",
    ),
    "fabric": Choice(FABRICS, "How links are made: auto, or openvswitch for OpenFlow."),
}
TOPOLOGY = Document(
    "Topology of a sonemu test bed",
    "PoPs, the links between them, hosts, and where SAPs stand.",
    Table(ROOT_FIELDS, required=("pops",), called="the topology"),
)

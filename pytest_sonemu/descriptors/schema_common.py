"""Demands that the published schemas of packages, services and functions share."""

from __future__ import annotations

from pytest_sonemu.descriptors.shapes import Anything, Choice, Flag, Items, Number, Shape, Switch, Table, Text

MD5 = Text(r"^[A-Fa-f0-9]{32}$", "32 hex digits")
LOWER = Text(r"^[a-z0-9\-_.]+$", "lower-case letters, digits, '-', '_', '.'")
SCHEMA_NAME = Text(r"^[A-Za-z0-9\-_.]+$", "letters, digits, '-', '_', '.'")
VERSION = Text(r"^[0-9\-_.]+$", "digits, '-', '_', '.', such as \"0.1\"")
WANTED_VERSION = Text(
    r"^(== |>= |<= |!= )?[0-9\-_.]+$", "a version, with '== ', '>= ', '<= ' or '!= ' before it if need be"
)
FILE = Text(r"^[A-Za-z0-9\-_./]+$", "letters, digits, '-', '_', '.', '/'")
TEXT = Text()
TEXTS = Items(TEXT)
POSITIVE = Number(above=0)
FLAG = Flag()

SIZE_UNITS = Choice(("B", "kB", "KiB", "MB", "MiB", "GB", "GiB", "TB", "TiB", "PT", "PiT"))
RATE_UNITS = Choice(("bps", "kbps", "Mbps", "Gbps", "Tbps"))
FREQUENCY_UNITS = ("Hz", "kHz", "MHz", "GHz", "THz")
INTERFACES = Choice(("ethernet", "ipv4", "ipv6"))
IMAGE_FORMATS = Choice(("raw", "vhd", "vmdk", "vdi", "iso", "qcow2", "docker", "ova", "ovf", "bare"))
CONNECTIVITY = Choice(("E-Line", "E-Tree", "E-LAN"))

LICENCES = Items(
    Table({"type": Choice(("public", "private")), "url": TEXT}, required=("type",), called="a licence"),
    unique=True,
)
MANAGERS = Items(
    Table(
        {
            "description": TEXT,
            "id": TEXT,
            "image": TEXT,
            "image_md5": MD5,
            "resource_requirements": Table({"docker_version": WANTED_VERSION}, closed=False),
            "options": Items(
                Table({"key": TEXT, "value": TEXT}, required=("key", "value"), called="an option"),
                unique=True,
            ),
        },
        required=("id", "image"),
        called="a manager (SSM, FSM)",
    ),
    unique=True,
)


def points(*types: str, required: tuple[str, ...], more: dict[str, Shape], closed: bool = True) -> Items:
    """Connection points, of these types and with these further keys."""
    return Items(
        Table(
            {
                "id": TEXT,
                "interface": INTERFACES,
                "type": Choice(types),
                "virtual_link_reference": TEXT,
                **more,
            },
            required=required,
            closed=closed,
            called="a connection point",
        ),
        unique=True,
    )


def link(**more: Shape) -> Table:
    """A virtual link that is described where it stands."""
    return Table(
        {
            "id": TEXT,
            "connectivity_type": CONNECTIVITY,
            "connection_points_reference": TEXTS,
            "access": FLAG,
            "external_access": FLAG,
            "root_requirement": TEXT,
            "leaf_requirement": TEXT,
            "dhcp": FLAG,
            "qos": TEXT,
            **more,
        },
        required=("id", "connectivity_type", "connection_points_reference"),
        called="a virtual link",
    )


def service_links(**more: Shape) -> Items:
    """The virtual links of an NSD, which may also refer to one that is described elsewhere."""
    by_name = Table(
        {"vl_group": TEXT, "vl_name": TEXT, "vl_version": TEXT, "vl_description": TEXT, "description": TEXT},
        required=("vl_group", "vl_name", "vl_version"),
        called="a virtual link by name",
    )
    return Items(Switch("vl_name", by_name, link(**more)))


_STATION = Table(
    {"connection_point_ref": TEXT, "position": Number(whole=True)}, closed=False, called="a station of a path"
)
_PATH = Table(
    {"fp_id": TEXT, "policy": TEXT, "connection_points": Items(_STATION)},
    closed=False,
    called="a forwarding path",
)
GRAPHS = Items(
    Switch(
        "fg_name",
        Table(
            {
                "fg_group": TEXT,
                "fg_name": TEXT,
                "fg_version": TEXT,
                "fg_description": TEXT,
                "description": TEXT,
            },
            required=("fg_group", "fg_name", "fg_version"),
            called="a forwarding graph by name",
        ),
        Table(
            {
                "fg_id": TEXT,
                "number_of_endpoints": Number(whole=True),
                "number_of_virtual_links": Number(whole=True),
                "constituent_virtual_links": TEXTS,
                "constituent_vnfs": TEXTS,
                "constituent_services": TEXTS,
                "network_forwarding_paths": Items(_PATH),
            },
            required=("fg_id",),
            closed=False,
            called="a forwarding graph",
        ),
    )
)

_EVENTS = Items(Table({"vnf_id": TEXT, "vnf_event": TEXT}, closed=False, called="a life-cycle event"))
SERVICE_EVENTS = Table(
    {"start": _EVENTS, "stop": _EVENTS, "scale_out": _EVENTS}, closed=False, called="lifecycle_events"
)
SERVICE_MONITORING = Items(
    Table({"desc": TEXT, "metric": TEXT, "unit": TEXT}, closed=False, called="a monitoring parameter")
)
AUTO_SCALE = Table(
    {
        "criteria": Items(
            Table({"end-to-end bandwidth": TEXT}, closed=False, called="a criterion of auto_scale_policy")
        ),
        "action": TEXT,
    },
    closed=False,
    called="auto_scale_policy",
)
ANYTHING = Anything()

_ACTION = Table({"command": TEXT, "template_file_format": TEXT, "template_file": TEXT}, called="an event")
FUNCTION_EVENTS = Items(
    Table(
        {
            **dict.fromkeys(
                (
                    "authentication_username",
                    "driver",
                    "authentication_type",
                    "authentication",
                    "vnf_container",
                    "flavor_id_ref",
                ),
                TEXT,
            ),
            "events": Table(
                dict.fromkeys(("start", "stop", "restart", "scale-in", "scale-out"), _ACTION), called="events"
            ),
        },
        called="an entry of lifecycle_events",
    )
)
MONITORING_RULES = Items(
    Table(
        {
            "name": TEXT,
            "description": TEXT,
            "duration": Number(),
            "duration_unit": ANYTHING,
            "condition": TEXT,
            "notification": Items(
                Table(
                    {"name": TEXT, "type": TEXT},
                    required=("name", "type"),
                    closed=False,
                    called="a notification",
                )
            ),
        },
        required=("name", "duration", "condition", "notification"),
        closed=False,
        called="a monitoring rule",
    )
)


def monitoring(name: Text, general: tuple[str, ...]) -> Items:
    """The monitoring parameters of a unit."""
    units = Choice((*general, *SIZE_UNITS.values, *RATE_UNITS.values, *FREQUENCY_UNITS))
    return Items(
        Table(
            {
                "name": name,
                "unit": units,
                "frequency": POSITIVE,
                "frequency_unit": Choice(FREQUENCY_UNITS),
                "command": TEXT,
            },
            required=("name", "unit"),
            called="a monitoring parameter",
        )
    )


def resources(**more: Shape) -> dict[str, Shape]:
    """The parts of resource_requirements that all units have."""
    size: dict[str, Shape] = {"size": POSITIVE, "size_unit": SIZE_UNITS}
    card = Table({"SR-IOV": FLAG, "mirroring": FLAG}, closed=False)
    # The shares and sets of cores are those of emulators; the schema leaves `cpu` open.
    cpu: dict[str, Shape] = {"vcpus": Number(above=0, whole=True), "cpu_support_accelerator": TEXT}
    own: dict[str, Shape] = dict.fromkeys(("cores", "cpu_bw"), ANYTHING)
    return {
        "cpu": Table(cpu | own, required=("vcpus",), closed=False, called="cpu"),
        "memory": Table(
            size | {"large_pages_required": FLAG, "numa_allocation_policy": TEXT},
            required=("size",),
            called="memory",
        ),
        "storage": Table(size | {"persistence": FLAG}, required=("size",), called="storage"),
        "network": Table(
            {
                "network_interface_bandwidth": POSITIVE,
                "network_interface_bandwidth_unit": RATE_UNITS,
                "network_interface_card_capabilities": card,
                "data_processing_acceleration_library": TEXT,
            },
            closed=False,
            called="network",
        ),
        "pcie": Table({"SR-IOV": FLAG, "device_pass_through": FLAG}, closed=False, called="pcie"),
        **more,
    }


SCALING = Table(
    {"minimum": Number(least=0, whole=True), "maximum": Number(least=0, whole=True)}, called="scale_in_out"
)
HYPERVISOR = Table({"type": TEXT, "version": WANTED_VERSION}, closed=False, called="hypervisor_parameters")
SWITCH = Table(
    {"version": WANTED_VERSION, "type": TEXT, "overlay_tunnel": TEXT},
    closed=False,
    called="vswitch_capabilities",
)
FUNCTION_ENTRY: dict[str, Shape] = {
    "vnf_id": TEXT,
    "vnf_vendor": LOWER,
    "vnf_name": LOWER,
    "vnf_version": WANTED_VERSION,
    "description": TEXT,
}
FUNCTION_ENTRY_REQUIRED = ("vnf_id", "vnf_vendor", "vnf_name", "vnf_version")

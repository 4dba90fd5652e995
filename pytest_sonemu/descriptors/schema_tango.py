"""What the published schemas of 5GTANGO demand: NAPD, NSD and VNFD."""

from __future__ import annotations

from pytest_sonemu.descriptors import schema_common as common
from pytest_sonemu.descriptors.schema_common import FILE, LOWER, MD5, TEXT, TEXTS, VERSION, WANTED_VERSION
from pytest_sonemu.descriptors.shapes import Anything, Choice, Items, Number, Shape, Table, Text

_HEAD: dict[str, Shape] = {
    "descriptor_schema": TEXT,
    "vendor": LOWER,
    "name": LOWER,
    "version": VERSION,
    "author": TEXT,
    "description": TEXT,
    "logo": FILE,
}
_REQUIRED = ("descriptor_schema", "vendor", "name", "version")
_TAGS = Items(Text(r"^[A-Za-z0-9\-_.:/]+$", "letters, digits, '-', '_', '.', ':', '/'"))

NAPD = Table(
    {
        "descriptor_schema": TEXT,
        "vendor": LOWER,
        "name": LOWER,
        "version": VERSION,
        "package_type": FILE,
        "release_date_time": Text(r"^[A-Z0-9.:+-]+$", "a date and time such as 2018-01-30T09:00:00Z"),
        "maintainer": TEXT,
        "description": TEXT,
        "logo": FILE,
        "metadata": Anything(),
        "package_content": Items(
            Table(
                {
                    "source": FILE,
                    "algorithm": Text(r"^[A-Z0-9\-]+$", "capitals, digits, '-', such as SHA-256"),
                    "hash": Text(r"^[A-Za-z0-9]+$", "letters and digits"),
                    "content-type": FILE,
                    "tags": _TAGS,
                    "testing_tags": _TAGS,
                },
                required=("source", "algorithm", "hash", "content-type"),
                called="an item of package_content",
            ),
            unique=True,
        ),
    },
    required=_REQUIRED,
    called="the NAPD",
)

_RATE = Table({"bandwidth": Number(), "bandwidth_unit": common.RATE_UNITS}, called="a bandwidth")
_QOS = Table(
    {"bandwidth_limit": _RATE, "minimum_bandwidth": _RATE, "dscp_marking": TEXT}, called="qos_requirements"
)
_POINT: dict[str, Shape] = {
    "mac": TEXT,
    "ip": TEXT,
    "port": Number(whole=True),
    "security_groups": TEXTS,
    "qos": TEXT,
    "qos_requirements": _QOS,
}
_SERVICE_POINTS = common.points("internal", "external", "management", required=("id",), more=_POINT)
_POINTS = common.points(
    "internal",
    "external",
    "management",
    "serviceendpoint",
    required=("id",),
    more={**_POINT, "ports": Items(Anything()), "publish": Table({}, closed=False, called="publish")},
)
_NESTED = Table(
    {
        "ns_id": TEXT,
        "ns_vendor": LOWER,
        "ns_name": LOWER,
        "ns_version": WANTED_VERSION,
        "description": TEXT,
    },
    required=("ns_id", "ns_vendor", "ns_name", "ns_version"),
    called="an entry of network_services",
)

NSD = Table(
    {
        **_HEAD,
        "licences": common.LICENCES,
        "service_specific_managers": common.MANAGERS,
        "network_functions": Items(
            Table(
                {**common.FUNCTION_ENTRY, "vnf_flavour": TEXT},
                required=common.FUNCTION_ENTRY_REQUIRED,
                called="an entry of network_functions",
            ),
            least=1,
            unique=True,
        ),
        "network_services": Items(_NESTED, least=1, unique=True),
        "connection_points": Items(_SERVICE_POINTS.item, least=1, unique=True),
        "virtual_links": common.service_links(cidr=TEXT, qos_requirements=_QOS),
        "forwarding_graphs": common.GRAPHS,
        "lifecycle_events": common.SERVICE_EVENTS,
        "vnf_depedency": Items(TEXT, unique=True),
        "services_depedency": Items(TEXT, unique=True),
        "monitoring_parameters": common.SERVICE_MONITORING,
        "auto_scale_policy": common.AUTO_SCALE,
        "deployment_flavours": Anything(),
        "testing_tags": TEXTS,
        "service_platforms": Items(Choice(("SONATA", "OSM", "ONAP"))),
        "soft_constraints": Anything(),
    },
    required=_REQUIRED,
    called="the NSD",
)

_SNMP = Table(
    {
        "version": TEXT,
        "auth_protocol": TEXT,
        "security_level": TEXT,
        "username": TEXT,
        "port": Number(whole=True),
        "interval": Number(whole=True),
        "oids": Items(
            Table(
                dict.fromkeys(("oid", "metric_name", "metric_type", "unit", "mib_name"), TEXT),
                required=("oid", "metric_name", "metric_type", "unit", "mib_name"),
                closed=False,
                called="an oid",
            )
        ),
    },
    required=("version", "interval", "oids"),
    closed=False,
    called="snmp_parameters",
)
_MONITORING = common.monitoring(TEXT, ("Percentage", "Binary", "Other"))
_IMAGE: dict[str, Shape] = {"vm_image": TEXT, "vm_image_format": common.IMAGE_FORMATS, "vm_image_md5": MD5}
_VDUS = Items(
    Table(
        {
            "description": TEXT,
            "id": TEXT,
            **_IMAGE,
            "vm_flavor": TEXT,
            "alternative_images": Items(
                Table(
                    {**_IMAGE, "vm_image_arch": TEXT},
                    required=("vm_image", "vm_image_format", "vm_image_arch"),
                    called="an alternative image",
                ),
                unique=True,
            ),
            "snmp_parameters": _SNMP,
            "resource_requirements": Table(
                common.resources(hypervisor_parameters=common.HYPERVISOR, vswitch_capabilities=common.SWITCH),
                required=("cpu", "memory"),
                called="resource_requirements",
            ),
            "connection_points": _POINTS,
            "monitoring_parameters": _MONITORING,
            "scale_in_out": common.SCALING,
            "user_data": TEXT,
        },
        required=("id", "resource_requirements"),
        called="a VDU",
    ),
    least=1,
    unique=True,
)
_GPU = Table(dict.fromkeys(("amd", "nvidia"), Number(above=0, whole=True)), closed=False, called="gpu")
_CDUS = Items(
    Table(
        {
            "description": TEXT,
            "id": TEXT,
            "image": TEXT,
            "snmp_parameters": _SNMP,
            "resource_requirements": Table(common.resources(gpu=_GPU), called="resource_requirements"),
            "connection_points": _POINTS,
            "monitoring_parameters": _MONITORING,
            "parameters": Table(
                dict.fromkeys(
                    ("env", "k8s_deployment", "k8s_service"), Table({}, closed=False, called="parameters")
                ),
                closed=False,
                called="parameters",
            ),
        },
        required=("id", "image"),
        called="a CDU",
    ),
    least=1,
)
_PDUS = Items(
    Table(
        {
            **dict.fromkeys(("id", "vendor", "version", "description", "address", "geo_location"), TEXT),
            "port": Number(),
            "performance": Anything(),
            "connection_points": _POINTS,
        },
        required=("id", "address", "port"),
        called="a PDU",
    ),
    least=1,
)
_UNITS: dict[str, Shape] = {
    "virtual_deployment_units": _VDUS,
    "cloudnative_deployment_units": _CDUS,
    "physical_deployment_units": _PDUS,
}
_LINKS = Items(common.link(cidr=TEXT, qos_requirements=_QOS))

VNFD = Table(
    {
        **_HEAD,
        "licenses": common.LICENCES,
        "function_specific_managers": common.MANAGERS,
        **_UNITS,
        "connection_points": _POINTS,
        "virtual_links": _LINKS,
        "deployment_flavours": Items(
            Table(
                {**_UNITS, "connection_points": _POINTS, "virtual_links": _LINKS},
                closed=False,
                called="a deployment flavour",
            )
        ),
        "lifecycle_events": common.FUNCTION_EVENTS,
        "monitoring_rules": common.MONITORING_RULES,
    },
    required=_REQUIRED,
    any_of=tuple(_UNITS),
    called="the VNFD",
)

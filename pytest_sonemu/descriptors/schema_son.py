"""What the published schemas of SONATA demand: manifest, NSD and VNFD of 2017.

Where the published schemas have a slip that makes a demand void (a bound inside a list's item, a
reference by a misspelt key), the demand is void here too.
"""

from __future__ import annotations

from pytest_sonemu.descriptors import schema_common as common
from pytest_sonemu.descriptors.schema_common import FILE, LOWER, MD5, SCHEMA_NAME, TEXT, TEXTS, VERSION
from pytest_sonemu.descriptors.shapes import Items, Number, Shape, Table, Text

_HEAD: dict[str, Shape] = {
    "descriptor_version": SCHEMA_NAME,
    "vendor": LOWER,
    "name": LOWER,
    "version": VERSION,
    "author": TEXT,
    "description": TEXT,
}
_REQUIRED = ("descriptor_version", "vendor", "name", "version")
_POINTS = common.points("internal", "external", "management", required=("id", "interface", "type"), more={})
_CREDENTIALS = Table(
    {"username": TEXT, "password": TEXT, "private_key": TEXT},
    any_of=("username", "private_key"),
    called="credentials",
)

MANIFEST = Table(
    {
        "schema": TEXT,
        "descriptor_version": SCHEMA_NAME,
        "vendor": LOWER,
        "name": LOWER,
        "version": VERSION,
        "maintainer": TEXT,
        "description": TEXT,
        "md5": MD5,
        "signature": TEXT,
        "entry_service_template": FILE,
        "sealed": common.FLAG,
        "package_content": Items(
            Table(
                {"name": FILE, "content-type": FILE, "md5": MD5, "sealed": common.FLAG},
                required=("name", "content-type"),
                called="an item of package_content",
            ),
            unique=True,
        ),
        "package_resolvers": Items(
            Table(
                {
                    "name": Text(r"^[A-Za-z0-9\-_./:]+$", "letters, digits, '-', '_', '.', '/', ':'"),
                    "credentials": _CREDENTIALS,
                },
                required=("name",),
                called="a package resolver",
            ),
            unique=True,
        ),
        "package_dependencies": Items(
            Table(
                {
                    "group": LOWER,
                    "name": LOWER,
                    "version": VERSION,
                    "credentials": TEXT,
                    "verification_key": TEXT,
                },
                required=("group", "name", "version"),
                called="a package dependency",
            ),
            unique=True,
        ),
        "artifact_dependencies": Items(
            Table(
                {
                    "vendor": FILE,
                    "name": FILE,
                    "version": Text(r"^[0-9.]+$", "digits and '.'"),
                    "url": Text(r"^[A-Za-z0-9\-_./:]+$", "letters, digits, '-', '_', '.', '/', ':'"),
                    "md5": MD5,
                    "credentials": _CREDENTIALS,
                },
                required=("vendor", "name", "version", "url"),
                called="an artifact dependency",
            ),
            unique=True,
        ),
    },
    required=_REQUIRED,
    called="the manifest",
)

NSD = Table(
    {
        **_HEAD,
        "licences": common.LICENCES,
        "service_specific_managers": common.MANAGERS,
        "network_functions": Items(
            Table(
                common.FUNCTION_ENTRY,
                required=common.FUNCTION_ENTRY_REQUIRED,
                called="an entry of network_functions",
            ),
            least=1,
            unique=True,
        ),
        "network_services": Items(TEXT, unique=True),
        "connection_points": Items(_POINTS.item, least=1, unique=True),
        "virtual_links": common.service_links(),
        "forwarding_graphs": common.GRAPHS,
        "lifecycle_events": common.SERVICE_EVENTS,
        "vnf_depedency": Items(TEXT, unique=True),
        "services_depedency": Items(TEXT, unique=True),
        "monitoring_parameters": common.SERVICE_MONITORING,
        "auto_scale_policy": common.AUTO_SCALE,
    },
    required=_REQUIRED,
    called="the NSD",
)

_UNIT = Table(
    {
        "description": TEXT,
        "id": TEXT,
        "vm_image": TEXT,
        "vm_image_format": common.IMAGE_FORMATS,
        "vm_image_md5": MD5,
        "resource_requirements": Table(
            common.resources(hypervisor_parameters=common.HYPERVISOR, vswitch_capabilities=common.SWITCH),
            required=("cpu", "memory"),
            called="resource_requirements",
        ),
        "connection_points": Items(_POINTS.item, least=1, unique=True),
        "monitoring_parameters": common.monitoring(
            Text(r"^[A-Za-z\-_]+$", "letters, '-', '_'"), ("Percentage",)
        ),
        "scale_in_out": common.SCALING,
        "user_data": TEXT,
    },
    required=("id", "resource_requirements"),
    called="a VDU",
)
_ASSURANCE = Items(
    Table(
        {
            "violation": Items(
                Table(
                    {"interval": Number(whole=True), "breaches_count": Number(whole=True)},
                    called="a violation",
                )
            ),
            "value": Number(whole=True),
            "penalty": Table(
                {"type": TEXT, "expression": Number(whole=True), "validity": TEXT, "unit": TEXT},
                called="a penalty",
            ),
            "formula": TEXT,
            "rel_id": TEXT,
            "id": TEXT,
            "unit": TEXT,
        },
        called="an assurance parameter",
    )
)

VNFD = Table(
    {
        **_HEAD,
        "licenses": common.LICENCES,
        "function_specific_managers": common.MANAGERS,
        "virtual_deployment_units": Items(_UNIT, least=1, unique=True),
        "connection_points": Items(_POINTS.item, least=1, unique=True),
        "virtual_links": Items(common.link()),
        "deployment_flavours": Items(
            Table(
                {
                    "vdu_reference": TEXTS,
                    "constraint": TEXT,
                    "flavour_key": TEXT,
                    "vlink_reference": TEXTS,
                    "id": TEXT,
                    "assurance_parameters": _ASSURANCE,
                },
                called="a deployment flavour",
            )
        ),
        "lifecycle_events": common.FUNCTION_EVENTS,
        "monitoring_rules": common.MONITORING_RULES,
    },
    required=(*_REQUIRED, "virtual_deployment_units"),
    called="the VNFD",
)

# The vocabulary of 2016, before the schema named the kind of interface: judged as what it was.
_OLD_POINTS = common.points("interface", "internal", "external", "management", required=("id",), more={})
_OLD_UNIT = Table({**_UNIT.fields, "connection_points": _OLD_POINTS}, required=_UNIT.required, called="a VDU")


def _early(prefix: str) -> dict[str, Shape]:
    return {
        f"{prefix}_group": LOWER,
        f"{prefix}_name": LOWER,
        f"{prefix}_version": VERSION,
        f"{prefix}_author": TEXT,
        f"{prefix}_maintainer": TEXT,
        f"{prefix}_description": TEXT,
    }


def _entry_of_2016() -> Table:
    fields = {**common.FUNCTION_ENTRY, "vnf_group": LOWER}
    return Table(
        fields,
        required=("vnf_id", "vnf_name", "vnf_version"),
        any_of=("vnf_vendor", "vnf_group"),
        called="an entry of network_functions",
    )


def _old(table: Table, prefix: str, names: tuple[str, ...], **fields: Shape) -> dict[str, Table]:
    """A document of 2016, with the usual names and with the earliest ones."""
    usual = Table({**table.fields, **fields}, required=table.required, called=table.called)
    first = {key: shape for key, shape in usual.fields.items() if key not in names}
    required = tuple(key for key in table.required if key not in (*names, "descriptor_version"))
    return {
        "": usual,
        prefix: Table(
            {**first, **_early(prefix)},
            required=(*required, *(f"{prefix}_{key}" for key in ("group", "name", "version"))),
            called=table.called,
        ),
    }


_NAMES = ("vendor", "name", "version")
OLD_MANIFESTS = _old(MANIFEST, "package", _NAMES)
OLD_NSDS = _old(
    NSD,
    "ns",
    _NAMES,
    connection_points=_OLD_POINTS,
    network_functions=Items(_entry_of_2016(), least=1, unique=True),
)
OLD_VNFDS = _old(
    VNFD,
    "vnf",
    _NAMES,
    connection_points=_OLD_POINTS,
    virtual_deployment_units=Items(_OLD_UNIT, least=1, unique=True),
)

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
    from pytest_sonemu.sharing.factories import bed_fixture as bed_fixture
    from pytest_sonemu.sharing.factories import service_fixture as service_fixture
    from pytest_sonemu.topology.model import PoP as PoP
    from pytest_sonemu.topology.model import PopLink as PopLink
    from pytest_sonemu.topology.model import Topology as Topology

__version__ = "0.1.0"

# Loaded when first asked for: importing the package, and pytest loading the plugin, stay cheap.
_HOMES = {
    "NetworkFunction": "descriptors.model",
    "NetworkService": "descriptors.model",
    "PoP": "topology.model",
    "PopLink": "topology.model",
    "Topology": "topology.model",
    "bed_fixture": "sharing.factories",
    "service_fixture": "sharing.factories",
}

__all__ = [
    "NetworkFunction",
    "NetworkService",
    "PoP",
    "PopLink",
    "Topology",
    "__version__",
    "bed_fixture",
    "errors",
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

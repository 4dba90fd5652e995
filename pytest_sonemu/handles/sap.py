"""A SAP or a host: a network namespace of the bed, without an image."""

from __future__ import annotations

from pytest_sonemu.handles.endpoint import Endpoint


class Sap(Endpoint):
    """A service access point: where a test stands as the service's user.

    assert service.sap("input").http("http://server/").status_code == 200
    """


class Host(Endpoint):
    """A host of the topology; all hosts share one E-LAN named `hosts`."""

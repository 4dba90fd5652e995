"""Programs and Python at an endpoint: the guide's examples, which run as tests."""

from __future__ import annotations

import urllib.request

import pytest

from pytest_sonemu import Service

pytestmark = pytest.mark.sonemu(
    topology="../example_packages/firewall/two-pops.yml", package="../example_packages/firewall"
)


def test_python_speaks_from_the_input(service: Service) -> None:
    with service.sap("input").sockets(), urllib.request.urlopen("http://server/", timeout=5) as answer:
        assert answer.status == 200


def test_a_program_records_it(service: Service) -> None:
    dump = service.sap("input").spawn("tcpdump -lni input tcp port 80")
    dump.wait_for("listening on")
    service.sap("input").http("http://server/")
    dump.wait_for("HTTP/1.1 200 OK")

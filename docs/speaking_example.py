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


def test_a_program_serves_beside_the_test(service: Service) -> None:
    server = service.sap("input").spawn("python3 -u -m http.server 8000")
    server.wait_for("Serving")
    assert service.vnf("fw").http("http://input:8000/").status_code == 200
    server.wait_for("GET /")

"""A `unittest.TestCase`: the fixture is an attribute of the case."""

from __future__ import annotations

import unittest
from pathlib import Path

import pytest

from pytest_sonemu import Service

EXAMPLES = Path(__file__).parents[2] / "example_packages"


@pytest.mark.sonemu(package=EXAMPLES / "firewall", topology=EXAMPLES / "firewall/two-pops.yml")
@pytest.mark.usefixtures("service")
class FirewallCase(unittest.TestCase):
    service: Service

    def test_the_web_is_reachable(self) -> None:
        self.assertEqual(self.service.sap("input").http("http://server/").status_code, 200)

    def test_telnet_is_blocked(self) -> None:
        self.assertEqual(self.service.connect("input", "server", tcp=23, timeout=0.3).outcome, "dropped")

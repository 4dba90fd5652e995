"""A service without descriptors: a Dockerfile, or an image, and a chain written in Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, Service

FW = Path(__file__).parents[1] / "example_packages/firewall/sources/vnf/fw"

pytestmark = pytest.mark.sonemu(
    package=NetworkService.chain("input", NetworkFunction("fw", build=FW), "output", name="just-fw")
)


def test_only_the_web_passes(service: Service) -> None:
    assert service.connect("input", "output", tcp=80, listen=True).outcome == "open"
    assert service.connect("input", "output", tcp=23, listen=True).lost_at == "fw"

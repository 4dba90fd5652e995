"""Options of VNFs and SAPs: the package stays as it is, the marker says what is different today."""

from __future__ import annotations

import pytest

from pytest_sonemu import Service

FIREWALL = "example_packages/firewall"

pytestmark = pytest.mark.sonemu(
    package=FIREWALL,
    topology=f"{FIREWALL}/two-pops.yml",
    placement={"fw": "pop2", "server": "pop2"},
    vnfs={
        "fw": {"env": {"MODE": "strict"}, "memory": "64M"},
        "server": {"ready": [80, "exec:nginx -t -q"], "cpu": 0.5},
    },
)


def test_the_options_hold(service: Service) -> None:
    fw = service.vnf("fw")
    assert fw.pop == "pop2"
    assert fw.exec(["printenv", "MODE"]).stdout == "strict\n"
    assert fw.container.attrs["HostConfig"]["Memory"] == 64 * 1024 * 1024


@pytest.mark.sonemu(placement={"fw": "pop1"}, vnfs={"fw": {"env": {"MODE": "lenient"}}})
def test_the_nearest_mark_wins_key_by_key(service: Service) -> None:
    assert service.vnf("fw").pop == "pop1"
    assert service.vnf("server").pop == "pop2"
    assert service.vnf("fw").exec(["printenv", "MODE"]).stdout == "lenient\n"

"""`requires=[...]`: what a test needs of the machine beyond what every bed needs."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

from pytest_sonemu.errors import SettingsError, nearest_first


def find_missing(needs: Iterable[str]) -> list[str]:
    """A sentence for each need that is not met, with the mend. Raises SettingsError for an unknown need."""
    missing: list[str] = []
    for need in needs:
        if need not in _NEEDS:
            raise SettingsError(
                f"requires: no need '{need}'; there are: {', '.join(nearest_first(need, _NEEDS))}"
            )
        met, sentence = _NEEDS[need]
        if not met():
            missing.append(f"{need}: {sentence}")
    return missing


def _program(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None


def _docker_answers() -> bool:
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not address.startswith("unix://"):
        return True  # another address is judged when the bed boots
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        return connection.connect_ex(address.removeprefix("unix://")) == 0


_NEEDS: dict[str, tuple[Callable[[], bool], str]] = {
    "docker": (_docker_answers, "Docker does not answer; run `sonemu doctor`"),
    "root": (lambda: os.geteuid() == 0, "not run as root; run pytest by sudo"),
    "openvswitch": (_program("ovs-vswitchd"), "no Open vSwitch; apt install openvswitch-switch"),
    "iperf3": (_program("iperf3"), "no iperf3; apt install iperf3"),
    "nft": (_program("nft"), "no nft; apt install nftables"),
    "tcpdump": (_program("tcpdump"), "no tcpdump; apt install tcpdump"),
    "slirp4netns": (_program("slirp4netns"), "no slirp4netns; apt install slirp4netns"),
    "ipv6": (Path("/proc/net/if_inet6").exists, "this kernel has no IPv6; boot it without ipv6.disable=1"),
}

"""`sonemu/vnf-base` as Docker has it, and its `sonemu-forward` on real interfaces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from docker import APIClient

from pytest_sonemu.emulation import base_image
from pytest_sonemu.emulation.base_image import REPOSITORY, ensure_base_image, read_recipe
from pytest_sonemu.errors import ImageError

Run = Callable[..., tuple[int, str]]

# Sends a frame out of one interface and prints, in hex, the one with the same mark that comes out of another.
PASS = """
import socket, sys
source, target, frame = sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3])
ALL = socket.htons(3)
seen = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, ALL)
seen.bind((target, 3))
seen.settimeout(5)
sent = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, ALL)
sent.bind((source, 3))
sent.send(frame)
while True:
    got = seen.recv(2000)
    if b"a mark of ours" in got:
        print(got.hex())
        break
"""
MARK = b"a mark of ours"


@pytest.fixture(scope="module")
def client() -> Iterator[APIClient]:
    client = APIClient(version="auto")
    yield client
    client.close()


@pytest.fixture(scope="module")
def reference(client: APIClient) -> str:
    return ensure_base_image(client)


@pytest.fixture
def run(client: APIClient, reference: str) -> Iterator[Run]:
    """Runs a command in a container with two cables, `a`-`outside_a` and `out`-`outside_out`."""
    container = client.create_container(
        reference,
        stdin_open=True,
        network_disabled=True,
        labels={"sonemu.test": "base-image"},
        host_config=client.create_host_config(
            cap_add=["NET_ADMIN"],
            sysctls={"net.ipv4.ip_forward": "1", "net.ipv4.conf.default.rp_filter": "0"},
        ),
    )["Id"]

    def run(*argv: str) -> tuple[int, str]:
        command = client.exec_create(container, list(argv))["Id"]
        output = client.exec_start(command)
        return client.exec_inspect(command)["ExitCode"], output.decode()

    try:
        client.start(container)
        for name in ("a", "out"):  # `a` is also short for a word of ip's
            for line in (
                f"link add name {name} type veth peer name outside_{name}",
                f"link set dev {name} up",
                f"link set outside_{name} up",
            ):
                assert run("ip", *line.split()) == (0, "")
        yield run
    finally:
        client.remove_container(container, force=True)


def passes(run: Run, frame: bytes) -> bytes:
    status, output = run("python3", "-c", PASS, "outside_a", "outside_out", frame.hex())
    assert status == 0, output
    return bytes.fromhex(output)


def test_latest_is_the_image_of_the_recipe(client: APIClient, reference: str) -> None:
    assert reference == read_recipe().reference
    assert client.inspect_image(reference)["Id"] == client.inspect_image(f"{REPOSITORY}:latest")["Id"]


def test_a_second_call_builds_nothing(client: APIClient, reference: str) -> None:
    lines: list[str] = []
    assert ensure_base_image(client, lines.append) == reference
    assert lines == []


def test_without_anything_to_do_a_container_stays_alive(client: APIClient, run: Run, reference: str) -> None:
    assert client.inspect_image(reference)["Config"]["Cmd"] == ["/bin/bash"]
    assert run("cat", "/proc/1/comm") == (0, "bash\n")


def test_its_programs_are_there(run: Run) -> None:
    programs = (
        "bridge brctl busybox curl ethtool ip iperf3 iptables nc nft nginx ping ps python3 tcpdump".split()
    )
    script = 'for each; do command -v "$each" >/dev/null || echo "$each"; done'
    assert run("sh", "-c", script, "sh", *programs, "sonemu-forward") == (0, "")


def test_it_serves_http(run: Run) -> None:
    assert run("ip", "link", "set", "lo", "up") == (0, "")
    script = "mkdir /srv/www && echo here >/srv/www/index.html && busybox httpd -p 8080 -h /srv/www"
    assert run("sh", "-c", script) == (0, "")
    assert run("curl", "--silent", "--fail", "http://127.0.0.1:8080/") == (0, "here\n")


def test_forward_bridge_passes_frames_unchanged_and_can_be_repeated(run: Run) -> None:
    for _ in range(2):
        assert run("sonemu-forward", "bridge", "a", "out") == (0, "sonemu-forward: bridge a out\n")
    # LLDP: a bridge as made by default keeps it to itself.
    frame = bytes.fromhex("0180c200000e02000000000188cc") + MARK.ljust(46, b"\0")
    assert passes(run, frame) == frame


def test_forward_route_passes_packets_and_counts_their_hop(run: Run) -> None:
    for line in (
        "addr add 10.0.0.1/30 dev a",
        "addr add 10.0.1.1/30 dev out",
        "neigh add 10.0.1.2 lladdr 02:00:00:00:00:0b nud permanent dev out",
        "link set dev a address 02:00:00:00:00:0a",
    ):
        assert run("ip", *line.split()) == (0, "")
    assert run("sonemu-forward", "route", "a", "out") == (0, "sonemu-forward: route a out\n")
    got = passes(run, bytes.fromhex("02000000000a 020000000001 0800") + packet(ttl=9))
    assert got[:6].hex() == "02000000000b"
    assert got[14 + 8] == 8
    assert MARK in got


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["route", "a", "out"], "a has no address to route by"),
        (["bridge", "a", "there"], "no interface 'there'; there are:"),
        (["tunnel", "a", "out"], "'tunnel' is neither bridge nor route"),
        (["bridge", "a"], "usage: sonemu-forward bridge|route IF IF"),
    ],
)
def test_forward_says_what_is_wrong(run: Run, argv: list[str], says: str) -> None:
    status, output = run("sonemu-forward", *argv)
    assert status == 1
    assert output.startswith(f"sonemu-forward: {says}")


def test_a_failed_build_tells_the_words_of_apt_and_leaves_no_image(client: APIClient, tmp_path: Path) -> None:
    recipe = replace(read_recipe(), packages=("sonemu-no-such-package",))
    archive, settings = tmp_path / "rootfs.tar", tmp_path / "apt.conf"
    settings.write_text("")
    command = base_image._mmdebstrap_command(recipe, settings)
    with pytest.raises(ImageError, match="no-such-mirror"):
        base_image._run_mmdebstrap(
            command, "deb file:///no-such-mirror bookworm main\n", archive, lambda line: None
        )
    assert client.images(name=recipe.rootfs) == []


def packet(ttl: int) -> bytes:
    """A UDP packet from 10.0.0.2 to 10.0.1.2 that carries the mark."""
    udp = (1000).to_bytes(2, "big") + (2000).to_bytes(2, "big") + (8 + len(MARK)).to_bytes(2, "big") + b"\0\0"
    head = bytes([0x45, 0]) + (28 + len(MARK)).to_bytes(2, "big") + bytes(4) + bytes([ttl, 17, 0, 0])
    head += bytes([10, 0, 0, 2, 10, 0, 1, 2])
    total = sum(int.from_bytes(head[at : at + 2], "big") for at in range(0, 20, 2))
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + (~total & 0xFFFF).to_bytes(2, "big") + head[12:] + udp + MARK

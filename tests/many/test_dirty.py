"""What a test leaves behind is seen from outside, and what it does not leave behind is not (ruling 20)."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, TestBed
from pytest_sonemu.handles.netlink import read_routes, route_socket
from pytest_sonemu.handles.network_state import network_state
from pytest_sonemu.handles.service import Service
from tests.support.machine import wait
from tests.support.static_program import static_image

NETWORK = NetworkService.of(
    "shared",
    [
        NetworkFunction("fw", image="sonemu/vnf-base", interfaces=["input", "output"]),
        NetworkFunction("app", image=static_image(), interfaces=["data"]),
    ],
    {"in": ["user", "fw:input"], "out": ["fw:output", "app:data"]},
)
OPTIONS = {"vnfs": {"app": {"ready": [80]}, "fw": {"dirty_ignore": ["/srv/spool", "/opt/*.db"]}}}


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    with TestBed() as bed:
        yield bed


@pytest.fixture
def service(bed: TestBed) -> Service:
    """One that is shared as long as it stays clean, as the pool does it."""
    found = [each for each in bed.services if each.dirty is None]
    for each in bed.services:
        if each.dirty is not None:
            each.stop()
    return found[0] if found else bed.start(NETWORK, **OPTIONS)


def after(service: Service, test: Callable[[Service], object]) -> str | None:
    """Why the instance is dirty after a test."""
    view = service.view()
    test(view)
    assert view.close_view() == ()
    return service.dirty


READS = [
    "nft list ruleset",
    "ip route show table all; ip addr; ip neigh; tc qdisc",
    "cat /etc/passwd > /dev/null; ls -lR /etc > /tmp/listing",
    "echo noise > /var/log/some.log; echo 1 > /run/some.pid; mkdir -p /var/cache/some",
    "mkdir -p /srv/spool && touch /srv/spool/x /opt/some.db",
    "ip route add 192.0.2.0/24 dev output; ip route del 192.0.2.0/24 dev output",
    "nft add table ip t; nft delete table ip t",
    "ping -c1 -W1 10.30.0.2",
    "sleep 0.05 & wait",
]


@pytest.mark.parametrize("command", READS)
def test_commands_that_leave_nothing_keep_it_clean(service: Service, command: str) -> None:
    assert after(service, lambda view: view.vnf("fw").exec(command)) is None


CHANGES = {
    "ip addr add 192.0.2.1/24 dev output": "+ address 192.0.2.1/24 on output",
    "ip route add 192.0.2.0/24 via 10.30.0.2": "+ route 192.0.2.0/24 via 10.30.0.2 out of output",
    "ip route add blackhole 192.0.2.7": "+ blackhole route 192.0.2.7/32",
    "ip rule add to 192.0.2.1 table 77": "+ rule (IPv4)",
    "ip link set output mtu 1400": "+ interface output up, mtu 1400",
    "ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev output nud permanent": "+ neighbour 192.0.2.9",
    "tc qdisc add dev output root tbf rate 1mbit burst 10k latency 50ms": "+ qdisc tbf",
    "nft add table ip t; nft add chain ip t c": "+ rules: table ip t chain c",
    "iptables-legacy -A FORWARD -p tcp --dport 23 -j DROP": "-A FORWARD -p tcp",
    "echo new > /etc/new.conf": "file /etc/new.conf new",
    "rm /etc/motd": "file /etc/motd removed",
    "chmod 600 /etc/services": "file /etc/services changed",
    "touch /etc/fstab": "file /etc/fstab changed",
    "sleep 777 > /dev/null 2>&1 &": "process `sleep 777` left behind",
    "setsid sleep 778 > /dev/null 2>&1 &": "process `sleep 778` left behind",
}


@pytest.mark.parametrize("command", CHANGES)
def test_what_a_command_changes_is_seen_and_named(service: Service, command: str) -> None:
    if "iptables" in command and not service.vnf("fw").exec("command -v iptables-legacy").ok:
        pytest.skip("the base image has no iptables-legacy")
    reason = after(service, lambda view: view.vnf("fw").exec(command, check=True))
    assert reason is not None
    assert reason.startswith("fw: ")
    assert CHANGES[command] in reason


STATIC = {
    ("write", "/data/new", "x"): "app: file /data/new new",
    ("child",): "app: process `/app wait` left behind",
    ("echo", "x"): None,
}


@pytest.mark.parametrize("arguments", STATIC, ids=" ".join)
def test_it_needs_nothing_in_the_image(service: Service, arguments: tuple[str, ...]) -> None:
    assert (
        after(service, lambda view: view.vnf("app").exec(["/app", *arguments], check=True))
        == STATIC[arguments]
    )


def test_a_file_put_where_there_was_none_is_seen_one_put_over_another_is_undone(service: Service) -> None:
    assert after(service, lambda view: view.vnf("fw").put("x", "/etc/motd")) is None
    assert after(service, lambda view: view.vnf("fw").put("x", "/etc/strange")) == "fw: file /etc/strange new"


def test_a_spawned_process_changes_things_as_long_as_it_runs(service: Service) -> None:
    def test(view: Service) -> None:
        view.vnf("fw").spawn("sleep 0.1; echo late > /etc/late; echo done; sleep 100").wait_for("done")

    assert after(service, test) == "fw: file /etc/late new"


def test_a_program_of_the_machine_may_change_a_sap(service: Service) -> None:
    change = lambda view: view.sap("user").run("ip", "route", "add", "192.0.2.0/24", "dev", "user")  # noqa: E731
    reason = after(service, change)
    assert reason is not None
    assert reason.startswith("user: + route 192.0.2.0/24 out of user")


def test_what_the_vnf_does_by_itself_does_not_count(service: Service) -> None:
    """Between two commands of the test a client makes it write a file that no list ignores."""
    before = service.vnf("app").exists("/data/events.json")

    def test(view: Service) -> None:
        view.vnf("app").exec(["/app", "echo", "one"], check=True)
        time.sleep(0.1)  # the kernel's dates are that coarse
        assert view.sap("user").http("http://app/").text == "hello\n"
        view.vnf("app").wait_for_log("client")
        time.sleep(0.1)
        view.vnf("app").exec(["/app", "echo", "two"], check=True)

    assert after(service, test) is None
    assert service.vnf("app").exists("/data/events.json") > before


def test_a_network_that_changes_between_two_commands_does_not_count(service: Service) -> None:
    pid = str(service.vnf("fw").state.pid)
    route = ["nsenter", "-t", pid, "-n", "ip", "route", "add", "192.0.2.0/24", "dev", "output"]

    def test(view: Service) -> None:
        view.vnf("fw").exec("true", check=True)
        subprocess.run(route, check=True)  # as a routing daemon of its own would
        view.vnf("fw").exec("true", check=True)

    assert after(service, test) is None
    assert after(service, lambda view: view.vnf("fw").exec("ip route del 192.0.2.0/24")) is not None


def test_thirty_readers_under_load_are_never_replaced(bed: TestBed) -> None:
    """A server that answers and writes its log all the time, while thirty tests look at it."""
    service = bed.start(NETWORK, vnfs={"app": {"ready": [80], "env": {"EVENTS": "/var/log/events.json"}}})
    stop = threading.Event()
    answered = []

    def load() -> None:
        while not stop.is_set():
            with socket_of(service) as client:
                client.connect((str(service.vnf("app").ip()), 80))
                client.send(b"GET / HTTP/1.0\r\n\r\n")
                answered.append(client.recv(100))

    loader = threading.Thread(target=load)
    loader.start()
    try:
        for number in range(30):
            which = (
                ("app", ["/app", "echo", str(number)]) if number % 2 else ("fw", ["nft", "list", "ruleset"])
            )

            def look(view: Service, which: tuple[str, list[str]] = which) -> None:
                view.vnf(which[0]).exec(which[1], check=True)

            reason = after(service, look)
            assert reason is None, f"after {number} tests"
    finally:
        stop.set()
        loader.join(10)
    assert len(answered) > 30
    assert len(service.vnf("app").read_text("/var/log/events.json").splitlines()) > 30
    service.stop()


def socket_of(service: Service) -> socket.socket:
    made = service._core.bed.client.socket(service.id, "fw", socket.AF_INET, socket.SOCK_STREAM)
    made.settimeout(5)
    return made


# -- stopped, started, broken -------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["stop", "kill", "restart", "pause"])
@pytest.mark.parametrize("which", ["fw", "app"])
def test_a_vnf_that_was_brought_back_is_clean(service: Service, verb: str, which: str) -> None:
    assert after(service, lambda view: getattr(view.vnf(which), verb)()) is None
    assert service.vnf(which).state.phase == "running"
    assert service.connect("user" if which == "fw" else "fw", "app", tcp=80).outcome == "open"


def test_rules_lost_by_a_restart_are_named(service: Service) -> None:
    """The test did not set them: they were there before it, and are not after it."""
    service.vnf("fw").exec("nft add table ip kept", check=True)
    service._core.changes.judge()
    reason = after(service, lambda view: view.vnf("fw").restart())
    assert reason == "fw: - rules: table ip kept"


def test_a_vnf_that_ends_by_itself_is_named(service: Service) -> None:
    def test(view: Service) -> None:
        view.vnf("app").container.kill("SIGTERM")
        assert wait(lambda: view.vnf("app").state.phase == "exited", 5)

    assert after(service, test) == "app has ended with 0"
    (event,) = [
        e for e in service._core.bed.client.events() if e.instance == service.id and "ended" in e.text
    ]
    assert (event.endpoint, event.text) == ("app", "app ended with 0")


def test_a_link_that_is_not_as_planned_is_named(service: Service) -> None:
    outer = next(i.outer for e in service.plan.endpoints for i in e.interfaces if str(e.id) == "user")
    pid = service._core.bed.client.keeper_pid
    subprocess.run(["nsenter", "-t", str(pid), "-n", "ip", "link", "set", outer, "down"], check=True)
    assert after(service, lambda view: None) == "interface user is down"


# -- what is forgotten --------------------------------------------------------------------------------


def test_neighbours_are_forgotten_between_tests_but_permanent_ones(service: Service) -> None:
    def neighbours() -> list[str]:
        return service.vnf("fw").exec("ip -4 neigh", check=True).stdout.splitlines()

    service.vnf("fw").exec(
        "ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev output nud permanent", check=True
    )
    service._core.changes.judge()
    assert service.ping("user", "fw:input", count=1).received == 1
    assert len(neighbours()) >= 2
    assert after(service, lambda view: view.ping("user", "fw:input", count=1)) is None
    assert [line.split()[0] for line in neighbours()] == ["192.0.2.9"]
    service.stop()


def test_connections_with_a_sap_are_forgotten_those_between_vnfs_stay(service: Service) -> None:
    fw = service.vnf("fw")
    fw.exec(
        "nft add table ip t && nft add chain ip t c '{ type filter hook forward priority 0; }'"
        " && nft add chain ip t o '{ type filter hook output priority 0; }'"
        " && nft add rule ip t c ct state invalid drop && nft add rule ip t o ct state invalid drop",
        check=True,
    )
    service._core.changes.judge()
    assert service.connect("user", "app", tcp=80).outcome == "open"
    assert service.connect("fw", "app", tcp=80).outcome == "open"

    def tracked() -> set[str]:
        lines = fw.exec("cat /proc/net/nf_conntrack").stdout.splitlines()
        return {word for line in lines for word in line.split() if word.startswith("src=")}

    user, own = f"src={service.sap('user').ip()}", f"src={fw.ip('output')}"
    if user not in tracked():
        pytest.skip("this kernel does not show its tracked connections")
    assert after(service, lambda view: view.connect("user", "app", tcp=80)) is None
    assert user not in tracked()
    assert own in tracked()
    service.stop()


# -- what it costs ------------------------------------------------------------------------------------


def test_a_test_that_does_nothing_pays_nothing(service: Service) -> None:
    """Roadmap: a shared service costs below 5 ms a test. The median of many, on a machine that others use."""
    times = []
    for _ in range(40):
        start = time.perf_counter()
        view = service.view()
        assert view.vnf("fw").id == "fw"
        view.close_view()
        times.append(time.perf_counter() - start)
    assert sorted(times)[20] < 0.005


def test_the_state_of_a_network_is_read_fast_and_is_what_was_planned(service: Service) -> None:
    client = service._core.bed.client
    state = network_state(client, service.id, "fw")
    assert f"address {service.vnf('fw').ip('output')}/30 on output" in state
    with route_socket(client, service.id, "fw") as sock:
        assert read_routes(sock)
    start = time.perf_counter()
    for _ in range(20):
        assert network_state(client, service.id, "fw") == state
    assert (time.perf_counter() - start) / 20 < 0.02

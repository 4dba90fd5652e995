"""Flows of other generators than ours: iperf3 and scapy, each by three methods."""

from __future__ import annotations

import re
import socket
import threading
from importlib.util import find_spec

import pytest

from pytest_sonemu import FlowStats, FlowTask, NetworkService, Service

pytestmark = pytest.mark.sonemu(package=NetworkService.of("generated", [], {"line": ["a", "b"]}))


class Iperf3:
    """UDP of this machine's iperf3, from SAP to SAP; figures come every tenth of a second."""

    def start(self, task: FlowTask) -> None:
        rate, size = round(task.rate * task.sizes[1] * 8), task.sizes[1]
        there = task.service.sap(task.servers[0])
        self.server = there.spawn(f"iperf3 -s -1 -p {task.port} -i 0.1 --forceflush")
        self.server.wait_for("listening")
        to = f"-c {task.target.address} -p {task.port}"
        here = task.service.sap(task.source.endpoint.id)
        self.client = here.spawn(f"iperf3 {to} -u -l {size} -b {rate} -t 3600")

    def stop(self) -> None:
        self.client.stop()
        self.server.wait(timeout=5)

    def stats(self) -> FlowStats:
        lines = [line for line in self.server.stdout.splitlines() if "receiver" not in line]
        figures = re.findall(r"([\d.]+) ms +(\d+)/(\d+) ", "\n".join(lines))
        sent = sum(int(total) for _, _, total in figures)
        lost = sum(int(lost) for _, lost, _ in figures)
        return FlowStats(sent, sent - lost, jitter=float(figures[-1][0]) / 1e3 if figures else None)


class Scapy:
    """Packets that scapy makes, sent by a raw socket of the source, counted where they come in."""

    def start(self, task: FlowTask) -> None:
        from scapy.layers.inet import IP, UDP

        source, there = task.endpoint(), task.endpoint(task.servers[0])
        packet = IP(src=str(source.ip()), dst=str(task.target.address), tos=0xB8)
        packet.add_payload(UDP(sport=task.port, dport=task.port))
        packet.add_payload(bytes(task.sizes[1]))
        data = bytes(packet)
        self.capture = there.capture(filter=f"udp port {task.port}")
        self.capture.__enter__()
        self.sent, self.over = 0, threading.Event()
        raw = source.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

        def send() -> None:
            while not self.over.wait(1 / task.rate):
                raw.sendto(data, (str(task.target.address), 0))
                self.sent += 1

        self.thread = threading.Thread(target=send)
        self.thread.start()

    def stop(self) -> None:
        self.over.set()
        self.thread.join()
        self.capture.__exit__(None, None, None)

    def stats(self) -> FlowStats:
        arrived = self.capture.matching(direction="in")
        return FlowStats(self.sent, len(arrived))


def test_a_flow_of_iperf3(service: Service) -> None:
    with service.flow("a", "b", udp=5201, rate="1000pps", size=200, generator=Iperf3()) as flow:
        flow.wait_until_flowing(200)
    assert flow.received > 200
    assert flow.loss < 0.01


@pytest.mark.skipif(find_spec("scapy") is None, reason="scapy is not installed")
def test_a_flow_of_scapy(service: Service) -> None:
    with (
        service.sap("b").capture(filter="udp") as capture,
        service.flow("a", "b", udp=5000, rate="200pps", size=64, generator=Scapy()) as flow,
    ):
        flow.wait_until_flowing(20)
    assert flow.lost == 0
    assert {packet.ip.tos for packet in capture if packet.ip} == {0xB8}

"""An async test: sockets of a SAP are ordinary sockets, so asyncio's streams run on them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pytest_sonemu import Service

EXAMPLES = Path(__file__).parents[2] / "example_packages"

pytestmark = pytest.mark.sonemu(package=EXAMPLES / "firewall", topology=EXAMPLES / "firewall/two-pops.yml")


@pytest.mark.asyncio
async def test_twenty_clients_at_once(service: Service) -> None:
    answers = await asyncio.gather(*(fetch(service) for _ in range(20)))
    assert all(answer.startswith(b"HTTP/1.1 200") and b"hello from server" in answer for answer in answers)


async def fetch(service: Service) -> bytes:
    client = service.sap("input").socket()
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, (str(service.vnf("server").ip()), 80))
    reader, writer = await asyncio.open_connection(sock=client)
    writer.write(b"GET / HTTP/1.0\r\nHost: server\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.asyncio
async def test_what_blocks_goes_to_a_thread(service: Service) -> None:
    ping, answer = await asyncio.gather(
        asyncio.to_thread(service.ping, "input", "server"),
        asyncio.to_thread(service.sap("input").http, "http://server/"),
    )
    assert ping.loss == 0
    assert answer.ok

"""A user's process may fork while a bed is up, and run out of room for files: neither harms the bed."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, TestBed
from pytest_sonemu.errors import EmulationError, SonemuError
from pytest_sonemu.handles.service import Service
from tests.support.machine import wait

CHAIN = NetworkService.chain("input", NetworkFunction("fw", image="sonemu/vnf-base"), "output")


@pytest.fixture
def service() -> Iterator[Service]:
    with TestBed() as bed:
        yield bed.start(CHAIN)


def test_forked_children_ask_beside_their_parent(service: Service, tmp_path: Path) -> None:
    children = []
    for number in range(4):
        if (pid := os.fork()) == 0:
            said = "nothing"
            try:
                for port in range(number * 100 + 1, number * 100 + 11):
                    said = service.connect("input", "output", tcp=port, listen=True).outcome
                    if said != "open":
                        break
            except SonemuError as error:
                said = repr(error)
            finally:
                (tmp_path / str(number)).write_text(said)
                os._exit(0)
        children.append(pid)
    found = [service.connect("input", "output", tcp=port, listen=True).outcome for port in range(901, 921)]
    for pid in children:
        os.waitpid(pid, 0)
    assert found == ["open"] * 20
    assert [(tmp_path / str(number)).read_text() for number in range(4)] == ["open"] * 4


def test_a_bed_ends_with_its_owner_though_a_child_lives_on(tmp_path: Path) -> None:
    hold_reader, hold_writer = os.pipe()
    if (owner := os.fork()) == 0:
        try:
            bed = TestBed()
            (tmp_path / "place").write_text(str(bed.run_dir))
            if os.fork() == 0:
                os.close(hold_writer)
                os.read(hold_reader, 1)  # until the test has seen what it wants to see
        finally:
            os._exit(0)
    os.waitpid(owner, 0)
    try:
        place = Path((tmp_path / "place").read_text())
        assert place.is_relative_to("/run/sonemu")
        assert wait(lambda: not place.exists(), 10)
    finally:
        os.close(hold_writer)
        os.close(hold_reader)


def test_a_process_without_room_for_more_files_is_told_so(service: Service) -> None:
    most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    handed: list[socket.socket] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        with pytest.raises(EmulationError, match=r"no room for another socket.*64.*ulimit -n"):
            handed.extend(service.sap("input").socket() for _ in range(100))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        for each in handed:
            each.close()
    assert service.connect("input", "output", tcp=9, listen=True).outcome == "open"

"""Real links need root: without it these tests are errors of the machine, not of the code."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pytest_sonemu.handles.observer import Observer
from tests.links.kernel_bed import KernelBed, firewall_plan
from tests.links.lab import Lab


@pytest.fixture(autouse=True)
def _as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("namespaces of our own need root")


@pytest.fixture
def bed() -> Iterator[KernelBed]:
    """input - fw - server, the firewall forwarding and without rules."""
    with KernelBed(firewall_plan()) as bed:
        yield bed


@pytest.fixture
def observer(bed: KernelBed) -> Iterator[Observer]:
    observer = Observer(bed)
    yield observer
    observer.close()


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A fabric with a relay that has the compiled core."""
    with Lab() as lab:
        lab.start_relay("--engine", "core")
        yield lab
        assert lab.log() == ""

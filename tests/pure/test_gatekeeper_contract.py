"""The contract on an emulation that only plans."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import gatekeeper_contract as contract
from tests.support.fake_emulation import FakeEmulation
from tests.support.http import Served


@pytest.fixture
def served() -> Iterator[Served]:
    emulation = FakeEmulation()
    served = Served(emulation, emulation.left)
    yield served
    served.close()


class TestPackages(contract.PackagesContract):
    pass


class TestStart(contract.StartContract):
    pass


class TestStop(contract.StopContract):
    pass


class TestBedRoutes(contract.BedContract):
    pass


class TestParallel(contract.ParallelContract):
    pass


class TestOldClients(contract.OldClientsContract):
    pass

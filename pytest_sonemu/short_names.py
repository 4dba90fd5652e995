"""Short names of the fixtures: `testbed`, `service`, `gatekeeper`. Without them: `-p no:sonemu-short`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_sonemu.plugin import shown_to_instance

if TYPE_CHECKING:
    from pytest_sonemu.gatekeeper.client import GatekeeperClient
    from pytest_sonemu.handles.service import Service
    from pytest_sonemu.handles.testbed import TestBed


@pytest.fixture
def testbed(request: pytest.FixtureRequest, sonemu_testbed: TestBed) -> Iterator[TestBed]:
    """The test bed that this test asks for (`sonemu_testbed`)."""
    with shown_to_instance(request, sonemu_testbed):
        yield sonemu_testbed


@pytest.fixture
def service(request: pytest.FixtureRequest, sonemu_service: Service) -> Iterator[Service]:
    """The running service that this test asks for (`sonemu_service`)."""
    with shown_to_instance(request, sonemu_service):
        yield sonemu_service


@pytest.fixture
def gatekeeper(
    request: pytest.FixtureRequest, sonemu_gatekeeper: GatekeeperClient
) -> Iterator[GatekeeperClient]:
    """A client of SONATA's gatekeeper on this test's bed (`sonemu_gatekeeper`)."""
    with shown_to_instance(request, sonemu_gatekeeper):
        yield sonemu_gatekeeper

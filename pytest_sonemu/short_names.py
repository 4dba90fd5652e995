"""Short names of the fixtures: `testbed`, `service`. Without them: `-p no:sonemu-short`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_sonemu.plugin import shown_to_instance

if TYPE_CHECKING:
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

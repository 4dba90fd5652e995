"""The hooks that other plugins and conftest files may implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_sonemu.handles.flow_task import Generator
    from pytest_sonemu.handles.service import Service
    from pytest_sonemu.handles.testbed import TestBed


def pytest_sonemu_testbed_ready(testbed: TestBed) -> None:
    """A test bed of the pool is up, with no instance on it yet.

    Called once a bed, before a test gets it. An error here is one of starting the bed. One that the run
    is attached to may have instances already.
    """


def pytest_sonemu_service_ready(service: Service) -> None:
    """An instance is up and every VNF of it is ready.

    Called once an instance, also for the one that replaces another, before a test gets it.
    """


@pytest.hookspec(firstresult=True)
def pytest_sonemu_flow_generator(name: str) -> Generator | None:
    """A new generator of traffic for `service.flow(..., generator=name)`; None: it is not yours.

    Called once a flow; the first one that is not None is taken.
    """

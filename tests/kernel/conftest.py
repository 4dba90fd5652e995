"""Tests that are true of the guest of `make test-kernel` alone."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def machine_kernel() -> str:
    """The kernel of the machine under the guest, as `uname -r` says it there."""
    try:
        return os.environ["SONEMU_MACHINE_KERNEL"]
    except KeyError:
        pytest.skip("runs on the kernel that `make test-kernel` boots")


@pytest.fixture(autouse=True)
def _in_the_guest(machine_kernel: str) -> None:
    """Nowhere else."""

"""Beds that several tests share, and the packages that a clone may or may not have."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED_PACKAGES = Path(__file__).parents[3] / "shared" / "packages"


@pytest.fixture(scope="session")
def shared_packages() -> Path:
    if not SHARED_PACKAGES.is_dir():
        pytest.skip(f"real packages are not here ({SHARED_PACKAGES})")
    return SHARED_PACKAGES

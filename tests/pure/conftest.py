from __future__ import annotations

from pathlib import Path

import pytest

SHARED_PACKAGES = Path(__file__).parents[2].parent / "shared" / "packages"


@pytest.fixture(scope="session")
def shared_packages() -> Path:
    """The folder with real packages, which lies beside some checkouts."""
    if not SHARED_PACKAGES.is_dir():
        pytest.skip(f"no real packages in {SHARED_PACKAGES}")
    return SHARED_PACKAGES

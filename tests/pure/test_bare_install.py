"""The clone's examples without the extras of development: `pip install .`, and no pytest-asyncio."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# As if it were not installed: neither found nor loaded.
WITHOUT = (
    "import sys; sys.modules['pytest_asyncio'] = None; import pytest; sys.exit(pytest.main(sys.argv[1:]))"
)


@pytest.mark.parametrize("path", ["docs/promise_example.py", "example_packages/firewall"])
def test_the_examples_are_collected_without_pytest_asyncio(path: str) -> None:
    plugins = ["-p", "pytest_sonemu.plugin", "-p", "pytest_sonemu.short_names", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *plugins, "--collect-only", "-q", path],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": str(ROOT),
            "PYTEST_ADDOPTS": "",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_web_is_reachable" in done.stdout or "test_firewall.py" in done.stdout

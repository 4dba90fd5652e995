"""How long tests wait for what comes at once: longer in the guest of `make test-kernel`, which is slow."""

from __future__ import annotations

import os

IN_GUEST = "SONEMU_MACHINE_KERNEL" in os.environ
PROBE_SECONDS = 2.5 if IN_GUEST else 0.4

"""Which name the interface of a connection point gets: its id wherever the kernel takes it."""

from __future__ import annotations

import re
from hashlib import sha256

LONGEST_NAME = 15  # IFNAMSIZ less its final zero byte
RESERVED = frozenset({".", "..", "all", "default", "lo"})
# It would take "%d" for "the first number that is free".
REFUSED = re.compile(r"[/:%\s\x00]")


def interface_name(point: str) -> str:
    """The id, or where the kernel would refuse it 10 bytes of it and 4 hex digits of its hash."""
    if (
        1 <= len(point.encode(errors="replace")) <= LONGEST_NAME
        and not REFUSED.search(point)
        and point not in RESERVED
    ):
        return point
    head = REFUSED.sub("-", point).encode(errors="replace")[:10].decode(errors="ignore")
    return f"{head}-{digest(point)}"


def digest(text: str) -> str:
    """Four hex digits that tell long names apart."""
    return sha256(text.encode(errors="replace")).hexdigest()[:4]

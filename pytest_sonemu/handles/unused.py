"""What works for a `with` block only, and says so where it is made and thrown away without one."""

from __future__ import annotations

import warnings


class WarnsUnused:
    """Warns when it goes without having been begun: a test that forgot the `with` would prove nothing.

    A subclass sets `_unused` to what it is, as the last step of its making, and empties it once begun.
    """

    _unused = ""

    def __del__(self) -> None:
        if self._unused:
            text = f"{self._unused} did nothing: it works for a block, `with …:`"
            warnings.warn(text, RuntimeWarning, stacklevel=2)

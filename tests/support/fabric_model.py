"""A fabric as batches make it, in memory: to compare what a change leaves with what a start makes."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_sonemu.planning.batches import Batch


class FabricModel:
    """Interfaces (a pair ends with either end), masters of ports, filters. Raises AssertionError for a line
    that the kernel would refuse."""

    def __init__(self) -> None:
        self.devices: dict[str, str] = {}
        self.up: set[str] = set()
        self.masters: dict[str, tuple[str, bool]] = {}
        self.filters: dict[tuple[str, str], tuple[str, ...]] = {}

    @property
    def state(self) -> object:
        return self.devices, self.up, self.masters, self.filters

    def run(self, batches: Iterable[Batch]) -> None:
        for batch in batches:
            for line in batch.lines:
                words = line.split()
                if batch.program == "tc":
                    self._tc(words, force=batch.force)
                else:
                    self._ip(words)

    def _ip(self, words: list[str]) -> None:
        if words[:2] == ["link", "add"]:
            self._add(words)
        elif words[:3] == ["link", "del", "dev"]:
            self.remove(words[3])
        elif words[3] == "":
            raise AssertionError(words)
        else:
            self._set(words)

    def _add(self, words: list[str]) -> None:
        name = words[2]
        assert name not in self.devices, f"{name} exists"
        if "bridge" in words:
            self.devices[name] = "bridge"
            return
        peer = words[words.index("peer") + 2]
        if "netns" in words:
            self.devices[name] = f"{peer} in {words[-1]}"
            return
        assert peer not in self.devices, f"{peer} exists"
        self.devices[name], self.devices[peer] = f"pair {peer}", f"pair {name}"

    def _set(self, words: list[str]) -> None:
        name = words[3]
        assert name in self.devices, f"no {name}"
        if "master" in words:
            bridge = words[words.index("master") + 1]
            assert self.devices[bridge] == "bridge"
            self.masters[name] = (bridge, False)
        elif "nomaster" in words:
            del self.masters[name]
        elif "bridge_slave" in words:
            self.masters[name] = (self.masters[name][0], "isolated" in words)
        if words[-1] == "up":
            self.up.add(name)

    def remove(self, name: str) -> None:
        """As the kernel does, with the other end of a pair and all that hung on them."""
        gone = {name}
        kind = self.devices[name]
        if kind.startswith("pair "):
            gone.add(kind.removeprefix("pair "))
        for one in gone:
            del self.devices[one]
            self.up.discard(one)
            self.masters.pop(one, None)
        self.masters = {port: where for port, where in self.masters.items() if where[0] not in gone}
        self.filters = {key: targets for key, targets in self.filters.items() if key[0] not in gone}

    def _tc(self, words: list[str], *, force: bool) -> None:
        device = words[words.index("dev") + 1]
        assert force or device in self.devices, f"no {device}"
        if words[:2] == ["qdisc", "add"] or words[:2] == ["qdisc", "replace"]:
            return
        key = (device, words[words.index("pref") + 1])
        if words[1] == "del":
            assert force or key in self.filters
            self.filters.pop(key, None)
            return
        assert key not in self.filters, f"{key} has a filter"
        targets = tuple(words[at + 1] for at, word in enumerate(words) if word == "dev" and at > 3)
        assert all(target in self.devices for target in targets), f"no {targets}"
        self.filters[key] = targets

"""What a relay counted of flows and links, kept while they come and go: a relay forgets what it is rid of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Tally = dict[str, int]

_OF_HOPS = ("lost", "overflowed", "duplicated", "reordered", "corrupted")
_OF_FLOWS = ("packets", "bytes", "sent_packets", "sent_bytes", "refused", "memory", "stale")
_OF_LINKS = ("packets", "bytes", "sent_packets", "sent_bytes", "stale", *_OF_HOPS)


class Tallies:
    """Flows by their ingress, links by name and direction; figures in wire frames and layer-2 bytes."""

    def __init__(self) -> None:
        self._flows: dict[str, tuple[str, Tally]] = {}
        self._links: dict[str, dict[str, Tally]] = {}

    def keep(self, counters: Mapping[str, Any], flows: Mapping[str, str], links: Iterable[str]) -> None:
        """Add what these flows (ingress: virtual link) and links have counted until now, the last of them."""
        for ingress, virtual_link in flows.items():
            if ingress in counters["flows"]:
                before = self._flows.get(ingress, ("", {}))[1]
                self._flows[ingress] = virtual_link, _sum(before, _flow(counters["flows"][ingress]))
        for name in links:
            for direction, values in counters["links"].get(name, {}).items():
                known = self._links.setdefault(name, {})
                known[direction] = _sum(known.get(direction, {}), _pick(values, _OF_LINKS))

    def forget(self, instance: str) -> None:
        """What belongs to an instance that is gone."""
        start = f"{instance}/"
        self._flows = {key: kept for key, kept in self._flows.items() if not kept[0].startswith(start)}
        self._links = {name: kept for name, kept in self._links.items() if not name.startswith(start)}

    def totals(self, counters: Mapping[str, Any]) -> dict[str, Any]:
        """What was kept and what is counted now; `queued` is what waits at this moment."""
        flows = {ingress: dict(kept) for ingress, (_, kept) in self._flows.items()}
        for ingress, values in counters.get("flows", {}).items():
            waiting = sum(hop["queued_packets"] for hop in values["hops"])
            flows[ingress] = {**_sum(flows.get(ingress, {}), _flow(values)), "queued": waiting}
        links = {name: dict(kept) for name, kept in self._links.items()}
        for name, both in counters.get("links", {}).items():
            known = links.setdefault(name, {})
            for direction, values in both.items():
                total = _sum(known.get(direction, {}), _pick(values, _OF_LINKS))
                known[direction] = {**total, "queued": values["queued_packets"]}
        return {"flows": flows, "links": links}


def _flow(values: Mapping[str, Any]) -> Tally:
    tally = _pick(values, _OF_FLOWS)
    for name in _OF_HOPS:
        tally[name] = sum(hop[name] for hop in values["hops"])
    return tally


def _pick(values: Mapping[str, int], names: Iterable[str]) -> Tally:
    return {name: values[name] for name in names}


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> Tally:
    return {name: one.get(name, 0) + value for name, value in other.items()}

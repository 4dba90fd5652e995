"""The one relay of a bed: started when it is needed, told, counted, and replaced when it fails."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_sonemu.emulation import processes
from pytest_sonemu.emulation.relay_process import start_relay
from pytest_sonemu.emulation.tallies import Tallies
from pytest_sonemu.errors import EmulationError
from pytest_sonemu.relay.client import RelayClient
from pytest_sonemu.relay.model import FlowSpec, LinkSpec

# A relay that ends more often than this within so many seconds is not started again by itself.
RESTARTS = 3
RESTARTS_SECONDS = 60.0
GAVE_UP = "the relay ended too often and is not started again"


class BedRelay:
    """What the relay has been told (`flows` by their ingress, `links` by name), and its process.

    `lock` is held by whoever calls, but for `close` and `alive`. `name` tells people what happened,
    `note` the bed's transcript; `again` is called, with the lock, to tell a relay that took another's place.
    """

    def __init__(
        self,
        run_dir: Path,
        lock: threading.RLock,
        note: Callable[[str], None],
        name: Callable[[str], None],
        again: Callable[[], None],
    ) -> None:
        self.flows: dict[str, FlowSpec] = {}
        self.links: dict[str, LinkSpec] = {}
        self.tallies = Tallies()
        self._run_dir, self._lock = run_dir, lock
        self._note, self._name, self._again = note, name, again
        self._process: subprocess.Popen[bytes] | None = None
        self._client: RelayClient | None = None
        self._deaths: list[float] = []
        # Where a relay that has died may have left a redirect of its own.
        self._orphans: set[str] = set()
        self._closed = False

    @property
    def running(self) -> bool:
        """Whether one is there to be told; it may have died this instant."""
        return self._client is not None

    def start(self) -> RelayClient:
        """Start a relay in the fabric, which is where we are."""
        if self._closed:
            raise EmulationError("the test bed is ending")
        process, client, hello = start_relay(self._run_dir)
        self._process, self._client = process, client
        self.flows, self.links = {}, {}
        self._note(f"relay {hello.pid} ({hello.engine}, real-time: {hello.realtime})")
        threading.Thread(target=self._watch, args=(process,), name="relay", daemon=True).start()
        return client

    def tell(
        self,
        *,
        links: Iterable[LinkSpec] = (),
        flows: Iterable[FlowSpec] = (),
        remove_links: Iterable[str] = (),
        remove_flows: Iterable[str] = (),
    ) -> None:
        """Tell the relay, and keep what it has been told. Where it fails, another is told everything."""
        links, flows = list(links), list(flows)
        remove_links, remove_flows = set(remove_links), set(remove_flows)
        if self._client is None or not (links or flows or remove_links or remove_flows):
            return
        told = {flow.ingress: flow for flow in flows}
        ending = {
            ingress: known.virtual_link
            for ingress, known in self.flows.items()
            if ingress in remove_flows or (ingress in told and _way(told[ingress]) != _way(known))
        }
        all_flows = {name: flow for name, flow in self.flows.items() if name not in remove_flows} | told
        all_links = {name: link for name, link in self.links.items() if name not in remove_links}
        all_links |= {link.name: link for link in links}
        try:
            if ending or remove_links:
                self.tallies.keep(self._client.counters(), ending, remove_links)
            self._client.change(links, flows, remove_links=remove_links, remove_flows=remove_flows)
        except EmulationError as error:
            self._tell_another(str(error), all_links.values(), all_flows.values())
        self.flows, self.links = all_flows, all_links

    def settle(self) -> None:
        """Have the relay leave to the kernel, now and not some 20 ms later, what nothing is done to."""
        if self._client is not None:
            try:
                self._client.change()
            except EmulationError as error:
                self._tell_another(str(error), self.links.values(), self.flows.values())

    def counters(self) -> Mapping[str, Any]:
        """The relay's own counters, per flow and link, and `totals` with those of links that were relayed."""
        now: Mapping[str, Any] = {}
        if self._client is not None:
            try:
                now = self._client.counters()
            except EmulationError as error:
                self._replace(str(error))
        return {**now, "totals": self.tallies.totals(now)}

    def orphans(self) -> set[str]:
        """Where relays that have died may have left a redirect, since this was asked last."""
        found, self._orphans = self._orphans, set()
        return found

    def alive(self) -> bool:
        """Whether a relay runs."""
        process = self._process
        return process is not None and processes.start_time(process.pid) is not None

    def close(self) -> None:
        """End the relay. One that says nothing keeps nobody waiting who asks it just now."""
        self._closed = True
        asked = self._process
        if asked is not None:
            asked.kill()
        with self._lock:
            process, self._process = self._process, None
            if self._client is not None:
                self._client.close()
                self._client = None
        if process is not None:
            process.kill()
            process.wait(10)

    def _tell_another(self, why: str, links: Iterable[LinkSpec], flows: Iterable[FlowSpec]) -> None:
        """Put another relay in the place of one that failed, and tell it everything."""
        links, flows = list(links), list(flows)
        while True:
            self._died(why)
            if self._gave_up:
                raise EmulationError(f"{GAVE_UP}: {why}")
            try:
                return self.start().change(links, flows)
            except EmulationError as error:
                why = str(error)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Notice the relay's death, name it, and put another in its place."""
        status = process.wait()
        with self._lock:
            if self._closed or self._process is not process:
                return
            self._replace(f"it ended with {status}")

    def _replace(self, why: str) -> None:
        """Put another relay in the place of one that failed, if it does not fail too often."""
        self._died(why)
        if self._gave_up:
            return
        try:
            self._again()
        except EmulationError as error:
            self._name(f"the relay could not be started again: {error}")

    def _died(self, why: str) -> None:
        """A relay that failed: it is dead for certain then, named, and nothing is expected of it any more."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(10)
        if self._client is not None:
            self._client.close()
            self._client = None
        self._orphans.update(self.flows)
        if self._closed:
            return
        self._name(f"the relay ended ({why}); frames on impaired links were lost meanwhile")
        now = time.monotonic()
        self._deaths = [*(death for death in self._deaths if now - death < RESTARTS_SECONDS), now]
        if self._gave_up:
            self._name(GAVE_UP)

    @property
    def _gave_up(self) -> bool:
        return len(self._deaths) > RESTARTS


def _way(flow: FlowSpec) -> tuple[object, str]:
    return flow.hops, flow.virtual_link

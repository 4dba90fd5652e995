"""Captures: every frame at some interfaces of a service, seen from outside of its VNFs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles import filter_program, filters
from pytest_sonemu.handles.arguments import seconds
from pytest_sonemu.handles.fence import let_pass
from pytest_sonemu.handles.netlink import read_links, route_socket
from pytest_sonemu.handles.packet_list import Match, Packets, check_direction
from pytest_sonemu.handles.packets import CapturedPacket, RawFrame
from pytest_sonemu.handles.pcap import Record, write_pcap
from pytest_sonemu.handles.recorder import Recorder
from pytest_sonemu.handles.results import Direction, one_line
from pytest_sonemu.handles.ring import frames_of
from pytest_sonemu.handles.sightings import label
from pytest_sonemu.handles.targets import find_spot
from pytest_sonemu.handles.unused import WarnsUnused
from pytest_sonemu.handles.wire import wire_frames, with_tag
from pytest_sonemu.planning.plan import Address, DeploymentPlan, EndpointPlan, LinkPlan

if TYPE_CHECKING:
    from typing_extensions import Self

    from pytest_sonemu.handles.core import BedCore
    from pytest_sonemu.handles.golden import Comparison


@dataclass(frozen=True, slots=True)
class Post:
    """Where a capture stands: an outer end, what to call it, and which direction of it is wanted."""

    outer: str
    at: str
    direction: Direction | None = None
    # What the fabric's interface receives comes out of the endpoint behind it.
    received: Direction = "out"

    def name(self, outgoing: bool) -> Direction:
        sent: Direction = "in" if self.received == "out" else "out"
        return sent if outgoing else self.received


class Capture(WarnsUnused):
    """Every frame at some interfaces, from the beginning of a `with` block to its end.

        with service.vnf("fw").capture("input", "tcp") as capture:
            service.sap("input").http("http://server/")
        assert capture.count("tcp syn") == 2
        capture.save("http.pcap")

    It may be read inside the block too, up to that moment. After the block it is complete, and raises
    ProbeError if the kernel had no room for a frame.
    """

    def __init__(
        self,
        bed: BedCore,
        where: str,
        posts: Callable[[], Iterable[Post]],
        wanted: str = "",
        *,
        resolve: filters.Resolve | None = None,
        hops: int = 4,
        snap: int = filter_program.WHOLE,
        told: bool = True,
    ) -> None:
        """`told`: it is a test's own, and of the story of a failure."""
        self._bed, self._where, self._wanted = bed, where, wanted
        self._node = filters.parse(wanted, resolve)
        self._posts, self._resolve, self._hops, self._snap = posts, resolve, hops, snap
        self._told = told
        self._known: dict[int, Post] = {}
        self._places: set[str] = set()
        self._newest = 0
        self._recorder: Recorder | None = None
        self._blocks: list[bytes] = []
        self._read: tuple[int, Packets, list[tuple[Post, RawFrame]]] | None = None
        self.missed = 0
        self._unused = f"capture at {where}"

    def __enter__(self) -> Self:
        if self._recorder is not None or self._blocks:
            raise ProbeError("a capture is used once; make another one")
        self._unused = ""
        self._read = None
        self._look()
        # A VNF that restarts gets new interfaces, which count up.
        program = filter_program.kernel_program(
            self._node, sorted(self._known), newer_than=self._newest, snap=self._snap
        )
        self._recorder = self._bed.recorders.borrow()
        self._recorder.start(program)
        self._tell("begins")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        recorder = self._recorder
        if recorder is None:
            return
        try:
            self._take(recorder)
        finally:
            self._recorder = None
            recorder.stop()
            recorder.take()
            self._bed.recorders.give_back(recorder)
            self._tell("ends")
        if self.missed and error is None:
            raise ProbeError(
                f"the capture at {self._where} is not complete: the kernel had no room for {self.missed}"
                " frames; a narrower filter takes fewer"
            )

    @property
    def packets(self) -> Packets:
        """All packets so far, as on a wire: super-frames cut, checksums filled in, VLAN tags in place."""
        return self._decoded()[0]

    def matching(
        self, wanted: Match = "", *, at: str | None = None, direction: Direction | None = None
    ) -> Packets:
        """The packets so far that match; see `Packets.matching`."""
        return self.packets.matching(wanted, at=at, direction=direction)

    def count(self, wanted: Match = "") -> int:
        """How many packets so far match."""
        return self.packets.count(wanted)

    def wait_for(self, wanted: Match = "", *, count: int = 1, timeout: float | str = 5.0) -> Packets:
        """Return, inside the block, as soon as `count` packets match. Raises ProbeError at the time-out."""
        deadline = time.monotonic() + seconds(timeout)
        while len(found := self.matching(wanted)) < count:
            if self._recorder is None or time.monotonic() > deadline:
                raise ProbeError(
                    f"{len(found)} of {count} packets that match {wanted!r} seen at {self._where}; "
                    f"there are {self.packets!r}"
                )
            self._recorder.wait(0.05)
        return found

    def save(self, path: str | Path, *, raw: bool = False) -> Path:
        """Write a pcap file as on a wire; `raw`: as the kernel passed the frames on, super-frames uncut."""
        if not raw:
            return self.packets.save(path)
        records = []
        for _post, frame in self._decoded()[1]:
            data = with_tag(frame.data, frame.tag)
            records.append(Record(frame.nanoseconds, data, len(data)))
        return write_pcap(path, records)

    def scapy(self) -> list[Any]:
        """The packets so far as scapy's."""
        return self.packets.scapy()

    def equals(self, golden: str | Path, ignore: Iterable[str] | None = None) -> Comparison:
        """Compare with a capture file, packet by packet; see `golden.compare` for what `ignore` may name.

        A relative path is looked for beside the test file. `pytest --sonemu-update-golden` writes the file
        anew if the test passes. Raises ProbeError if there is none, or if it cannot be read.
        """
        from pytest_sonemu.handles.golden import compare_with_file

        return compare_with_file(self.packets, golden, ignore, self._bed.files)

    def __len__(self) -> int:
        return len(self.packets)

    def __iter__(self) -> Iterator[CapturedPacket]:
        return iter(self.packets)

    def __getitem__(self, at: int) -> CapturedPacket:
        return self.packets[at]

    def __repr__(self) -> str:
        filtered = f" of '{self._wanted}'" if self._wanted else ""
        state = "runs" if self._recorder is not None else repr(self.packets)
        return one_line(f"<Capture{filtered} at {self._where}: {state}>")

    # -- behind it --------------------------------------------------------------------------------

    def _tell(self, what: str) -> None:
        if self._told:
            of = f" of '{self._wanted}'" if self._wanted else ""
            self._bed.journal.note("did", f"capture{of} {what}", self._where, failed=bool(self.missed))

    def _take(self, recorder: Recorder) -> None:
        let_pass(self._hops)
        self._blocks += recorder.take()
        self.missed = recorder.missed
        self._look()

    def _look(self) -> None:
        """Learn which interface of the fabric has which number now."""
        posts = {post.outer: post for post in self._posts()}
        self._places.update(post.at for post in posts.values())
        with closing(route_socket(self._bed.client, None, None)) as sock:
            for link in read_links(sock):
                self._newest = max(self._newest, link.index)
                if link.name in posts:
                    self._known[link.index] = posts[link.name]

    def _decoded(self) -> tuple[Packets, list[tuple[Post, RawFrame]]]:
        if self._recorder is not None:
            self._take(self._recorder)
        if self._read is None or self._read[0] != len(self._blocks):
            frames = []
            for frame in frames_of(self._blocks):
                post = self._known.get(frame.index)
                if post is not None and post.direction in (None, post.name(frame.outgoing)):
                    frames.append((post, frame))
            packets = [packet for post, frame in frames for packet in _as_packets(post, frame)]
            places = self._places or None  # before its block it stands nowhere
            self._read = len(self._blocks), Packets(packets, self._resolve, places), frames
        return self._read[1], self._read[2]


def endpoint_capture(
    bed: BedCore, plan: DeploymentPlan, endpoint: EndpointPlan, interface: str | None, wanted: str
) -> Capture:
    """A capture at one interface of an endpoint, or at all of them. Raises NotFoundError, ProbeError."""
    chosen = endpoint.interfaces
    if interface is not None:
        spot = find_spot(plan, f"{endpoint.id}:{interface}")
        chosen = (spot.interface,) if spot.interface is not None else ()
    posts = [Post(each.outer, label(endpoint, each)) for each in chosen]
    where = endpoint.id if interface is None else f"{endpoint.id}:{interface}"
    return Capture(bed, where, lambda: posts, wanted, resolve=resolver(plan))


def link_capture(
    bed: BedCore, plan: DeploymentPlan, link: LinkPlan, wanted: str, direction: Direction | None
) -> Capture:
    """A capture at all ends of a virtual link. Raises ProbeError."""
    check_direction(direction)
    posts = link_posts(link, direction)
    return Capture(bed, f"link {link.id}", lambda: posts, wanted, resolve=resolver(plan))


def link_posts(link: LinkPlan, direction: Direction | None) -> list[Post]:
    """The ends of a virtual link, named as a test names them."""
    return [Post(end.outer, str(end), direction) for end in link.ends]


def resolver(plan: DeploymentPlan) -> filters.Resolve:
    """Addresses of "server" (all of its), "server:data" or an address of the plan. Raises NotFoundError."""

    def resolve(name: str) -> list[Address]:
        spot = find_spot(plan, name)
        interfaces = (spot.interface,) if spot.interface is not None else spot.endpoint.interfaces
        return [address.ip for interface in interfaces for address in interface.addresses]

    return resolve


def _as_packets(post: Post, frame: RawFrame) -> Iterator[CapturedPacket]:
    direction = post.name(frame.outgoing)
    pieces = (
        wire_frames(frame.data, frame.vnet, frame.tag) if frame.whole else [with_tag(frame.data, frame.tag)]
    )
    for piece in pieces:
        yield CapturedPacket(frame.nanoseconds / 1e9, post.at, direction, piece, frame.nanoseconds)

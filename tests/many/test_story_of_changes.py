"""Whatever a test does to a service is in the story of its failure: that it was done, failed, was undone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, TestBed
from pytest_sonemu.errors import ProbeError, SettingsError, SonemuError
from pytest_sonemu.handles.service import Service
from pytest_sonemu.reports.gathering import gather
from pytest_sonemu.reports.story import tell_all
from tests.support.static_program import static_image

HARMLESS = Path(__file__).parents[2] / "docs" / "how_to" / "harmless.pcap"
SIDES = {"192.0.2.1": "a", "192.0.2.80": "web"}
Story = Callable[[], str]


@pytest.fixture(scope="module")
def shared_bed() -> Iterator[TestBed]:
    with TestBed() as bed:
        yield bed


@pytest.fixture(scope="module")
def shared(shared_bed: TestBed) -> Service:
    web = NetworkFunction("web", image=static_image(), interfaces=["lan"])
    lan = NetworkService.of("lan", [web], {}, lans={"lan": ["a", "web:lan"]})
    return shared_bed.start(lan, vnfs={"web": {"ready": [80]}})


@pytest.fixture
def views(shared_bed: TestBed, shared: Service) -> Iterator[tuple[TestBed, Service, Story]]:
    """Views of a test, and what the report of its failure would tell."""
    bed, service = shared_bed.view(), shared.view()
    began = service._undo.began

    def story() -> str:
        core = service._core
        return "\n".join(tell_all(gather(core.bed, [core], began).entries, began))

    yield bed, service, story
    assert (*bed.close_view(), *service.close_view()) == ()


def test_impairments(views: tuple[TestBed, Service, Story]) -> None:
    _bed, service, story = views
    link = service.link("lan")
    with link.impair(delay="2ms"):
        pass
    with pytest.raises(SettingsError), link.impair(delay="2ms", loss="200%"):
        pytest.fail("nothing was said")
    with service.sap("a").interface("a").impair(direction="in", loss="1%"):
        pass
    with link.schedule([(0, {"delay": "1ms"})]) as schedule:
        assert schedule.wait(5)
    link.down().up()
    link.up()
    told = story()
    assert re.search(r"  did +lan: impaired: delay 2ms\n.*  did +lan: impaired as before\n", told), told
    assert re.search(r"! did +lan: impaired: delay 2ms, loss 200%: loss: '200%' is more", told), told
    assert re.search(r"  did +a:a: impaired in: loss 1%\n.*  did +a:a: impaired as before\n", told), told
    begins = r"  did +lan: schedule of 1 steps begins: 0 s: delay 0.001\n"
    assert re.search(begins + r".*  did +lan: schedule ends, impaired as before\n", told), told
    assert len(re.findall(r"  did +link lan brought up", told)) == 2, told


def test_programs(views: tuple[TestBed, Service, Story]) -> None:
    _bed, service, story = views
    sap = service.sap("a")
    sap.run("ip", "-br", "link")
    sap.run("ip", "link", "show", "dev", "none-such")
    sap.tool("ip -br addr")
    for program in (sap.run, sap.spawn):
        with pytest.raises(ProbeError):
            program("no-such-program -x")
    with pytest.raises(ProbeError, match="did not end"):
        sap.run("sleep 5", timeout=0.1)
    with service.undo():
        sap.spawn("sleep 60")
    told = story()
    assert re.search(r"  did +a: run `ip -br link` ended with 0 after 0\.\d\d\d s", told), told
    assert re.search(r"! did +a: run `ip link show dev none-such` ended with 1 after", told), told
    assert re.search(r"  did +a: run `ip -br addr` ended with 0 after", told), told
    assert re.search(r"! did +a: run `no-such-program -x`: this machine has no program", told), told
    assert re.search(r"! did +a: spawn `no-such-program -x`: this machine has no program", told), told
    assert re.search(r"! did +a: run `sleep 5`: .*did not end within 0\.1 s", told), told
    assert re.search(r"  did +a: spawn `sleep 60`\n.*  undone a: `sleep 60` ended", told), told


def test_captures_and_replays(views: tuple[TestBed, Service, Story], tmp_path: Path) -> None:
    _bed, service, story = views
    with service.sap("a").capture(filter="udp"), service.link("lan").capture():
        service.replay(HARMLESS, SIDES, speed="max")
    broken = tmp_path / "broken.pcap"
    broken.write_bytes(b"nothing")
    with pytest.raises(ProbeError):
        service.replay(broken, SIDES)
    service.trace("a", "web", tcp=80)
    told = story()
    begin, end = (rf"  did +a: capture of 'udp' {word}" for word in ("begins", "ends"))
    replay = r"  probe +lan: replay of harmless\.pcap begins\n.*  probe +a: <replay harmless\.pcap: all 8"
    assert re.search(rf"{begin}\n.*  did +link lan: capture begins\n.*{replay}.*{end}", told, re.DOTALL), told
    assert re.search(r"  did +link lan: capture ends", told), told
    assert re.search(r"! probe +lan: replay of broken\.pcap ended: .*broken\.pcap", told), told
    # Those that a replay or a trace makes for itself are none of the test's.
    assert len(re.findall(r"capture.* begins", told)) == 2, told


def test_changes_of_the_plan(views: tuple[TestBed, Service, Story]) -> None:
    bed, service, story = views
    with service.undo():
        service.vnf("web").update(env={"A": "b"})
        service.scale("web", 2)
    with bed.undo():
        lan = service.link("lan")
        bed.host("late", on=lan)
        bed.container("ids", image="sonemu/vnf-base", tap=lan)
        with pytest.raises(SonemuError):
            bed.host("web", on=lan)
    other = bed.start(NetworkService.chain("in", NetworkFunction("fw", image=static_image()), "out"))
    more = bed.start(NetworkService.chain("user", NetworkFunction("lb", image=static_image()), "end"))
    with bed.undo():
        bed.join(other.sap("out"), more.sap("user"))
    told = story()
    for label in (
        r"update web \(env\)",
        "scale web to 2",
        "host late on lan",
        "container ids with a tap of lan",
    ):
        assert re.search(rf"  did +{label}\n.*  undone +{label}: as before", told, re.DOTALL), (label, told)
    assert re.search(r"! did +host web on lan: .*has an endpoint 'web' already", told), told
    assert re.search(r"  did +join \S+/out and \S+/user\n.*  undone +join ", told), told

"""Options from plain data: typed, merged key by key, with all errors at once."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from pytest_sonemu.descriptors.model import Place
from pytest_sonemu.errors import SettingsError
from pytest_sonemu.planning.options import (
    Secret,
    ServiceOptions,
    VnfOptions,
    merge,
    parse_service_options,
    restrict,
    set_option,
)
from pytest_sonemu.planning.plan import MountPlan
from pytest_sonemu.relay.model import Impairment
from pytest_sonemu.topology.impairments import Access
from tests.pure.services import empty_service


def parse(**options: Any) -> ServiceOptions:
    return parse_service_options(options, "sonemu.yml")


def vnf(**options: Any) -> VnfOptions:
    return parse(vnfs={"fw": options}).vnf("fw")


@pytest.mark.parametrize(
    ("written", "option", "expected"),
    [
        ({"image": "fw:dev"}, "image", "fw:dev"),
        ({"build": "./fw"}, "build", Path("fw")),
        ({"mounts": ["a:/b"]}, "mounts", (MountPlan("a", "/b", read_only=True),)),
        (
            {"mounts": ["./a:/b:rw", "c:/d:ro"]},
            "mounts",
            (MountPlan("./a", "/b", False), MountPlan("c", "/d")),
        ),
        ({"mounts": {"a": "/b:rw"}}, "mounts", (MountPlan("a", "/b", read_only=False),)),
        ({"env": {"A": 1, "B": True, "C": None}}, "env", {"A": "1", "B": "true", "C": ""}),
        ({"command": "nginx -g 'daemon off;'"}, "command", ("nginx", "-g", "daemon off;")),
        ({"command": ["sleep", 5]}, "command", ("sleep", "5")),
        ({"cpu": "0.5"}, "cpu", 0.5),
        ({"memory": "512M"}, "memory", 512 * 2**20),
        ({"cap_add": ["CAP_SYS_ADMIN", "net_raw"]}, "cap_add", ("SYS_ADMIN", "NET_RAW")),
        ({"sysctls": {"net.ipv4.ip_forward": 1}}, "sysctls", {"net.ipv4.ip_forward": "1"}),
        ({"ready": 80}, "ready", ("80",)),
        ({"ready": ["log:rules loaded", "file:/run/x"]}, "ready", ("log:rules loaded", "file:/run/x")),
        ({"ready_timeout": "2min"}, "ready_timeout", 120.0),
        ({"ready-timeout": 5}, "ready_timeout", 5.0),
        ({"routes": "none"}, "routes", "none"),
        ({"routes": ["10.0.0.0/8"]}, "routes", (IPv4Network("10.0.0.0/8"),)),
        ({"transparent": True}, "transparent", True),
        ({"transparent": ["in", "out"]}, "transparent", ("in", "out")),
        ({"offload": "off"}, "offload", False),
        ({"grace": "500ms"}, "grace", 0.5),
        ({}, "settle", 1.0),
        ({}, "ready_timeout", 60.0),
        ({"image": None}, "image", None),
        (
            {"interfaces": {"input": {"rate": "10Mbit", "in": {"delay": "5ms"}}}},
            "interfaces",
            {"input": Access(Impairment(rate=10**7), Impairment(rate=10**7, delay=0.005))},
        ),
    ],
)
def test_a_vnfs_options_are_read(written: dict[str, Any], option: str, expected: object) -> None:
    assert getattr(vnf(**written), option) == expected


def test_a_callable_is_kept_as_it_is() -> None:
    def condition(vnf: object) -> bool:
        return vnf is not None

    assert vnf(ready=condition).ready == (condition,)
    assert vnf(ready=["80", condition]).ready == ("80", condition)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"mounts": ["a"]}, "'a' is no mount"),
        ({"mounts": ["a:b"]}, "'a:b' is no mount"),
        ({"mounts": ["a:/b:rx"]}, "'a:/b:rx' is no mount"),
        ({"cpu": 0}, "not a number above 0"),
        ({"cpu": "many"}, "'many' is not a number"),
        ({"cpu": float("nan")}, "not a number above 0"),
        ({"memory": "5Q"}, "is not a size"),
        ({"sysctls": {"kernel.panic": 1}}, r"only net\.\*"),
        ({"routes": "nnoe"}, r"did you mean 'none'\?"),
        ({"routes": ["10.0.0.1/8"]}, "has host bits set"),
        ({"transparent": ["in"]}, "neither true nor a pair"),
        ({"transparent": "perhaps"}, "neither true nor false"),
        ({"mtu": 20}, "is not an MTU"),
        ({"env": ["A=1"]}, "is not a mapping"),
        ({"command": []}, "is empty"),
        ({"ready": ""}, "is empty"),
        ({"grace": -1}, "of 0 or more"),
        ({"imgae": "x"}, r"unknown option \(did you mean 'image'\?\)"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(written: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        vnf(**written)
    assert f"sonemu.yml: vnfs.fw.{next(iter(written))}: " in str(caught.value)


def test_all_errors_come_at_once_with_their_places() -> None:
    places = {("vnfs", "fw", "mtu"): Place("sonemu.yml", 3, 10), ("adress_plan",): Place("sonemu.yml", 7, 1)}
    with pytest.raises(SettingsError) as caught:
        parse_service_options(
            {"vnfs": {"fw": {"mtu": "big"}, "ids": "yes"}, "adress_plan": "seed", "mtu": 1, "extra": 1},
            lambda path: places.get(path, "sonemu.yml"),
            also=["extra"],
        )
    lines = str(caught.value).splitlines()
    assert lines == [
        "sonemu.yml:3:10: vnfs.fw.mtu: 'big' is not an MTU (bytes, 68 to 65535)",
        "sonemu.yml: vnfs.ids: 'yes' is not a mapping",
        lines[2],
        "sonemu.yml: mtu: 1 is not an MTU (bytes, 68 to 65535)",
    ]
    assert lines[2].startswith("sonemu.yml:7:1: adress_plan: unknown option (did you mean 'address_plan'?)")


def test_a_services_options_are_read() -> None:
    options = parse(
        images={"nginx:*": "web:dev"},
        placement={"fw": "pop2"},
        address_plan="llcm",
        saps={"input": {"pop": "pop1"}},
    )
    assert options.images == {"nginx:*": "web:dev"}
    assert options.placement == {"fw": "pop2"}
    assert options.address_plan == "llcm"
    assert options.sap("input").pop == "pop1"
    assert options.sap("output").pop is None
    with pytest.raises(
        SettingsError, match=r"'round-robbin' is no placement \(did you mean 'round-robin'\?\)"
    ):
        parse(placement="round-robbin")
    with pytest.raises(SettingsError, match="no address plan"):
        parse(address_plan="mine")


def test_the_options_of_all_vnfs_stand_under_those_of_one() -> None:
    options = parse(vnfs={"*": {"image": "base", "env": {"A": "1", "B": "1"}}, "fw": {"env": {"B": "2"}}})
    assert options.vnf("fw").image == "base"
    assert options.vnf("fw").env == {"A": "1", "B": "2"}
    assert options.vnf("web").env == {"A": "1", "B": "1"}


def test_later_options_win_key_by_key() -> None:
    earlier = parse(
        vnfs={"fw": {"settle": 5, "image": "a", "cap_add": ["SYS_TIME"]}, "web": {"cpu": 1}}, routes="none"
    )
    later = parse(vnfs={"fw": {"settle": 1, "cap_add": ["SYS_NICE"]}}, address_plan="seed")
    merged = merge(earlier, later)
    assert merged.vnf("fw").settle == 1.0  # given, although it is the default
    assert merged.vnf("fw").image == "a"
    assert merged.vnf("fw").cap_add == ("SYS_NICE",)
    assert merged.vnf("web").cpu == 1
    assert (merged.routes, merged.address_plan) == ("none", "seed")
    assert merge() == ServiceOptions()
    assert merge(parse(routes="none"), parse(routes="path")).routes == "path"


def test_of_image_and_build_the_later_one_is_meant() -> None:
    merged = merge(parse(vnfs={"fw": {"build": "."}}), parse(vnfs={"fw": {"image": "fw:dev"}}))
    assert (merged.vnf("fw").image, merged.vnf("fw").build) == ("fw:dev", None)
    under = parse(vnfs={"*": {"image": "base"}, "fw": {"build": "."}}).vnf("fw")
    assert (under.image, under.build) == (None, Path())


def test_options_made_in_python_merge_as_well() -> None:
    options = parse(vnfs={"fw": VnfOptions(image="x")})
    assert merge(parse(vnfs={"fw": {"cpu": 1}}), options).vnf("fw") == VnfOptions(image="x", cpu=1.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fw.image=fw:dev", parse(vnfs={"fw": {"image": "fw:dev"}})),
        ("*.image=sonemu/vnf-base", parse(vnfs={"*": {"image": "sonemu/vnf-base"}})),
        ("my.fw.cpu=0.5", parse(vnfs={"my.fw": {"cpu": 0.5}})),
        ("fw.transparent=true", parse(vnfs={"fw": {"transparent": True}})),
        ("fw.ready=80", parse(vnfs={"fw": {"ready": 80}})),
        ("fw.ready=log: rules loaded", parse(vnfs={"fw": {"ready": "log: rules loaded"}})),
        ("fw.ready=exec:test -f 'x", parse(vnfs={"fw": {"ready": "exec:test -f 'x"}})),
        ("fw.cap_add=[SYS_ADMIN, NET_RAW]", parse(vnfs={"fw": {"cap_add": ["SYS_ADMIN", "NET_RAW"]}})),
        ("fw.env.MODE=010", parse(vnfs={"fw": {"env": {"MODE": "010"}}})),
        ("fw.env.A.B=x=y", parse(vnfs={"fw": {"env": {"A.B": "x=y"}}})),
        ("fw.sysctls.net.ipv4.ip_forward=1", parse(vnfs={"fw": {"sysctls": {"net.ipv4.ip_forward": "1"}}})),
        ("vnfs.images.image=x", parse(vnfs={"images": {"image": "x"}})),
        ("address_plan=seed", parse(address_plan="seed")),
        ("placement=first", parse(placement="first")),
        ("placement.fw=pop2", parse(placement={"fw": "pop2"})),
        ("images.nginx:1.2=web:dev", parse(images={"nginx:1.2": "web:dev"})),
        ("saps.input.pop=pop1", parse(saps={"input": {"pop": "pop1"}})),
        ("mtu=9000", parse(mtu=9000)),
        ("links.far.delay=5ms", parse(links={"far": {"delay": "5ms"}})),
        (
            "links.far={delay: 5ms, a->b: {loss: 1%}}",
            parse(links={"far": {"delay": 0.005, "a->b": {"loss": 0.01}}}),
        ),
        ("fw.interfaces.in={rate: 1Mbit}", parse(vnfs={"fw": {"interfaces": {"in": {"rate": "1Mbit"}}}})),
        ("links.a.b.fw:in->web.loss=1%", parse(links={"a.b": {"fw:in -> web": {"loss": "1%"}}})),
        ("fw.interfaces.in.rate=1Mbit", parse(vnfs={"fw": {"interfaces": {"in": {"rate": "1Mbit"}}}})),
        (
            "saps.a.interfaces.a.out.loss=1%",
            parse(saps={"a": {"interfaces": {"a": {"out": {"loss": "1%"}}}}}),
        ),
    ],
)
def test_the_command_line_sets_one_option(text: str, expected: ServiceOptions) -> None:
    assert set_option(ServiceOptions(), text) == expected


def test_the_command_line_leaves_the_rest_as_it_is() -> None:
    options = set_option(parse(vnfs={"fw": {"image": "a", "cpu": 1}}), "fw.image=b")
    assert options.vnf("fw") == VnfOptions(image="b", cpu=1.0)


def test_settings_of_the_command_line_are_read_together() -> None:
    options = set_option(
        ServiceOptions(), "links.far.burst=10K", "mtu=9000", "links.far.rate=1Mbit", "mtu=1400"
    )
    assert options == parse(links={"far": {"burst": "10K", "rate": "1Mbit"}}, mtu=1400)
    options = set_option(
        parse(vnfs={"fw": {"cpu": 1}}), "fw.build=web", "fw.image=a", "fw.env.A=1", "fw.env.B=2"
    )
    assert options.vnf("fw") == VnfOptions(image="a", cpu=1.0, env={"A": "1", "B": "2"})
    assert set_option(ServiceOptions(), "placement=first", "placement.fw=p").placement == {"fw": "p"}
    with pytest.raises(
        SettingsError, match=r"^--sonemu-set links\.far\.rate, links\.far\.los: links: far: los: no such"
    ):
        set_option(ServiceOptions(), "mtu=9000", "links.far.rate=1Mbit", "links.far.los=1%")


def test_a_direction_that_is_said_twice_is_refused_and_not_lost() -> None:
    with pytest.raises(SettingsError, match=r"links: far: direction 'a -> b' is said twice"):
        parse(links={"far": {"a->b": {"delay": 1}, "a -> b": {"loss": 0.1}}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fw.image", "NAME=VALUE"),
        ("=x", "NAME=VALUE"),
        ("fw.imgae=x", r"'imgae' is no option of a VNF \(did you mean 'image'\?\)"),
        ("rotues=none", r"unknown option \(did you mean 'routes'\?\)"),
        ("fw.cpu=many", "'many' is not a number"),
        ("fw.interfaces.in.ratee=1", r"in: ratee: no such impairment \(did you mean 'rate'\?\)"),
        ("saps.input=x", "is not a mapping|unknown option"),
        ("links.far.dely=1ms", r"links: far: dely: no such impairment \(did you mean 'delay'\?\)"),
        ("links.far.a->b.rate=0", "far: a->b: rate: 0: nothing would pass"),
        ("links.far.burst=10K", "far: burst: does nothing without a rate"),
        ("links.far={out: {delay: 5ms}}", "links: far: out: no direction; one is written as 'a->b', or"),
        ("fw.interfaces.in={a->b: {delay: 5ms}}", "in: a->b: no direction; one is written as 'out' or 'in'"),
    ],
)
def test_a_setting_that_cannot_be_used_says_why(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        set_option(ServiceOptions(), text)


def test_secrets_show_themselves_nowhere() -> None:
    options = set_option(parse(vnfs={"fw": {"secrets": {"TOKEN": "hunter2"}}}), "fw.secrets.KEY=hunter2")
    assert options.vnf("fw").secrets == {"TOKEN": Secret("hunter2"), "KEY": Secret("hunter2")}
    assert options.vnf("fw").secrets["KEY"].reveal() == "hunter2"
    shown = f"{options!r} {options.vnf('fw').secrets['KEY']} {options.vnf('fw').secrets!s}"
    assert "hunter2" not in shown
    assert "***" in shown
    for text in ("fw.secrets=hunter2", "fw.secretz.KEY=hunter2"):
        with pytest.raises(SettingsError) as caught:
            set_option(ServiceOptions(), text)
        assert "hunter2" not in str(caught.value)
    with pytest.raises(SettingsError) as caught:
        vnf(secrets={"KEY": ["hunter2"]})
    assert "hunter2" not in str(caught.value)


def test_options_of_other_services_are_left_out() -> None:
    options = parse(
        vnfs={"*": {"cpu": 1}, "empty_vnf1": {"cpu": 2}, "other": {"cpu": 3}}, saps={"x": {"pop": "p"}}
    )
    mine = restrict(options, empty_service())
    assert set(mine.vnfs) == {"*", "empty_vnf1"}
    assert not mine.saps


def test_a_capability_that_does_not_exist_is_named_with_its_option() -> None:
    with pytest.raises(SettingsError, match=r"vnfs\.fw\.cap_add: 'NET_ADMN' is no capability .*'NET_ADMIN'"):
        parse_service_options({"vnfs": {"fw": {"cap_add": ["CAP_NET_ADMN"]}}}, "here")
    parsed = parse_service_options({"vnfs": {"fw": {"cap_add": ["cap_sys_ptrace", "ALL"]}}}, "here")
    assert parsed.vnf("fw").cap_add == ("SYS_PTRACE", "ALL")

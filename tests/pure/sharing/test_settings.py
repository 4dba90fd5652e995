"""Marks, fixtures, options and ini: one order, merged leaf by leaf."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_sonemu.errors import SettingsError
from pytest_sonemu.sharing.requests import frozen
from pytest_sonemu.sharing.settings import layer, merge, parse_set
from pytest_sonemu.topology.model import PoP, Topology
from tests.pure.sharing.conftest import Run
from tests.pure.sharing.fakes import World


def test_marks_merge_key_by_key_and_the_nearest_wins(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.sonemu(
            topology="two.yml", package="fw.son", placement="first",
            vnfs={"fw": {"image": "fw:1", "env": {"A": "1"}}, "web": {"cpu": 0.5}})

        @pytest.mark.sonemu(placement="round-robin", routes="none")
        class TestX:
            @pytest.mark.sonemu(vnfs={"fw": {"image": "fw:2", "env": {"B": "2"}}}, routes="all")
            def test_a(self, service, testbed):
                assert testbed.topology.name == "two.yml"
                assert service.options == {
                    "placement": "round-robin", "routes": "all",
                    "vnfs": {"fw": {"image": "fw:2", "env": {"A": "1", "B": "2"}}, "web": {"cpu": 0.5}}}

        @pytest.mark.sonemu(routes="path")
        class TestDerived(TestX):
            @pytest.mark.sonemu(vnfs={"fw": {"build": "."}})
            def test_b(self, service):
                assert service.options["routes"] == "path"
                fw = service.options["vnfs"]["fw"]
                assert "image" not in fw and fw["build"].is_absolute()
        """
    )
    run("-k", "TestX or test_b").assert_outcomes(passed=2)


def test_the_options_of_a_whole_service_stand_in_the_marker(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.sonemu(package="fw.son", overprovision=1.5, container_names="mn")
        def test_a(service):
            assert service.options == {"overprovision": 1.5, "container_names": "mn"}
        @pytest.mark.sonemu(package="fw.son", overprovision=-1)
        def test_b(service): pass
        """
    )
    result = run()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*overprovision: -1 is not a number above 0*"])


def test_the_order_of_all_layers(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makeini("[pytest]\nsonemu_set =\n    fw.image=ini\n    mtu=1400\n    placement=first\n")
    pytester.makepyfile(
        """
        import pytest
        @pytest.fixture
        def sonemu_settings(): return {"vnfs": {"fw": {"image": "fixture"}}, "placement": "round-robin"}
        @pytest.fixture
        def sonemu_package(): return "fw.son"
        def test_fixture(service):
            assert service.options == {
                "vnfs": {"fw": {"image": "fixture"}}, "placement": "round-robin", "mtu": 1400}
        @pytest.mark.sonemu(vnfs={"fw": {"image": "marker"}}, package="web.son")
        class TestMarker:
            def test_marker(self, service):
                assert service.id.startswith("web") and service.options["vnfs"]["fw"]["image"] == "marker"
            @pytest.mark.parametrize("sonemu_package", ["fw.son"])
            def test_parameter(self, service): assert service.id.startswith("fw")
            @pytest.mark.parametrize("n", [pytest.param(
                1, marks=pytest.mark.sonemu(vnfs={"fw": {"image": "param"}}))])
            @pytest.mark.sonemu(vnfs={"fw": {"image": "function"}})
            def test_marks_of_parameters(self, service, n):
                assert service.options["vnfs"]["fw"]["image"] == "param"
        """
    )
    run().assert_outcomes(passed=4)
    result = run("--sonemu-set", "fw.image=fw:dev", "-k", "test_marker")
    result.stdout.fnmatch_lines(["*'fw:dev' == 'marker'*"])


def test_unknown_keys_are_the_tests_own_error(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.sonemu(topolgy="two.yml")
        def test_a(testbed): pass
        @pytest.mark.sonemu("two.yml")
        def test_b(testbed): pass
        @pytest.mark.sonemu(packge="fw.son")
        def test_without_fixture(): pass
        @pytest.mark.sonemu(package="nowhere.son")
        def test_c(service): pass
        @pytest.mark.sonemu(vnfs={"fw": {"imgae": "fw:dev"}}, placement="frist")
        def test_options(testbed): pass
        @pytest.mark.sonemu(scope="modul")
        def test_d(testbed): pass
        def test_e(service): pass
        def test_f(testbed): pass
        """
    )
    result = run()
    result.assert_outcomes(errors=7, passed=1)
    result.stdout.fnmatch_lines(
        [
            "marker of test_a: unknown key 'topolgy' (did you mean 'topology'?); there are:*",
            "marker of test_b: sonemu() takes keyword arguments only*",
            "marker of test_without_fixture: unknown key 'packge' (did you mean 'package'?)*",
            "marker of test_c: package 'nowhere.son' does not exist; looked in: *",
            "marker of test_options: vnfs.fw.imgae: unknown option (did you mean 'image'?); there are: *",
            "marker of test_options: placement: 'frist' is no placement (did you mean 'first'?)*",
            "marker of test_d: scope is 'modul' (did you mean 'module'?); it is one of: *",
            "test_e asks for a service and names no package: *",
        ]
    )
    assert world.of("boot") == ["boot bed1 one PoP"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sonemu-keep=sometimes"], "*command line: sonemu_keep is 'sometimes'*never, on-failure, always*"),
        (["--sonemu-scope=modul"], "*did you mean 'module'*"),
        (["--sonemu-set=fw"], "*'fw' is not a setting*"),
        (["--sonemu-set=plcement=first"], "*unknown key 'plcement' (did you mean 'placement'?)*"),
    ],
)
def test_options_that_cannot_be_used(
    pytester: pytest.Pytester, run: Run, arguments: list[str], message: str
) -> None:
    pytester.makepyfile("def test_a(): pass")
    result = run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_relative_paths_are_beside_the_test_then_in_the_root(pytester: pytest.Pytester, run: Run) -> None:
    sub = pytester.mkdir("sub")
    sub.joinpath("fw.son").touch()
    sub.joinpath("test_sub.py").write_text(
        "import pytest\n"
        "@pytest.mark.sonemu(package='fw.son', topology='two.yml')\n"
        "def test_a(service, testbed):\n"
        "    assert service.instance.package.parent.name == 'sub'\n"
        "    assert testbed.topology.is_absolute() and testbed.topology.parent.name != 'sub'\n"
    )
    run().assert_outcomes(passed=1)


def test_lists_clone_tests(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.sonemu(topology=["two.yml", "three.yml"], package="fw.son")
        seen = []
        def test_a(service, testbed): seen.append(testbed.topology.name)
        @pytest.mark.sonemu(topology="two.yml", vnfs={"fw": {"image": ["fw:1", "fw:2"]}}, package=[
            "fw.son", pytest.param("web.son", id="other")])
        def test_b(service, testbed):
            seen.append((testbed.topology.name, service.id[:2], service.options["vnfs"]["fw"]["image"]))
        def test_plain(): pass
        def test_end():
            assert seen == ["two.yml", "three.yml"] + [
                ("two.yml", name, image) for name in ("fw", "we") for image in ("fw:1", "fw:2")]
        """
    )
    result = run("-v")
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(
        [
            "*::test_a?two?*",
            "*::test_a?three?*",
            "*::test_b?fw-fw=fw:1?*",
            "*::test_b?fw-fw=fw:2?*",
            "*::test_b?other-fw=fw:1?*",
            "*::test_b?other-fw=fw:2?*",
            "*::test_plain *",
        ]
    )
    assert world.log[0] == "images fw.son fw.son fw.son fw.son web.son web.son"


def test_a_setting_of_the_command_line_ends_the_cloning(
    pytester: pytest.Pytester, run: Run, world: World
) -> None:
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.sonemu(topology=["two.yml", "three.yml"])
        def test_a(testbed): pass
        """
    )
    run("--sonemu-set", "topology=three.yml").assert_outcomes(passed=1)
    assert world.of("boot") == ["boot bed1 three.yml"]


def test_show_config(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makeini("[pytest]\nsonemu_missing = skip\n")
    pytester.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.sonemu(package="fw.son", vnfs={"fw": {"secrets": {"KEY": "hush"}}})
        @pytest.mark.sonemu(placement="first")
        def test_a(service): pass
        """
    )
    result = run("--sonemu-show-config", "--sonemu-set", "*.image=sonemu/vnf-base")
    assert result.ret == 0
    assert world.log == []
    result.stdout.fnmatch_lines(
        [
            "images.[*] = sonemu/vnf-base * # command line",
            "keep = never * # default",
            "missing = skip * # tox.ini",
            "*::test_a",
            "  images.[*] = sonemu/vnf-base * # command line",
            "  package = */fw.son * # marker of module test_show_config.py",
            "  placement = first * # marker of test_a",
            "  vnfs.fw.secrets.KEY = [*][*][*] *",
        ]
    )
    result.stdout.no_fnmatch_line("*hush*")


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("fw.image=fw:dev", ("vnfs", "fw", "image"), "fw:dev"),
        ("fw.image=1.20", ("vnfs", "fw", "image"), "1.20"),
        ("*.image=sonemu/vnf-base", ("images", "*"), "sonemu/vnf-base"),
        ("images.reg.io/x:1.2=y", ("images", "reg.io/x:1.2"), "y"),
        ("vnfs.fw.cpu=0.5", ("vnfs", "fw", "cpu"), 0.5),
        ("fw.env.LEVEL=3", ("vnfs", "fw", "env", "LEVEL"), "3"),
        ("fw.transparent=true", ("vnfs", "fw", "transparent"), True),
        ("fw.ready=[80, 'log:up']", ("vnfs", "fw", "ready"), [80, "log:up"]),
        ("placement.fw=pop2", ("placement", "fw"), "pop2"),
        ("saps.input.pop=pop2", ("saps", "input", "pop"), "pop2"),
        ("mtu=1400", ("mtu",), 1400),
    ],
)
def test_a_setting_as_text(text: str, path: tuple[str, ...], value: object) -> None:
    assert parse_set([text], "command line").leaves == {path: value}


def test_folders_and_mounts_are_absolute(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    mounts = ["conf:/etc/fw", "/srv:/srv:rw"]
    here = layer("here", {"vnfs": {"fw": {"build": "conf", "mounts": mounts}}}, [tmp_path / "no", tmp_path])
    expected = [f"{tmp_path}/conf:/etc/fw", "/srv:/srv:rw"]
    assert here.leaves == {("vnfs", "fw", "build"): tmp_path / "conf", ("vnfs", "fw", "mounts"): expected}
    table = layer("here", {"vnfs": {"fw": {"mounts": {"conf": "/etc/fw"}}}}, [tmp_path])
    assert table.leaves == {("vnfs", "fw", "mounts"): [f"{tmp_path}/conf:/etc/fw"]}
    with pytest.raises(SettingsError, match=r"here: vnfs\.fw\.mounts 'none' does not exist; looked in: "):
        layer("here", {"vnfs": {"fw": {"mounts": "none:/x"}}}, [tmp_path])


def test_a_nearer_value_hides_what_lies_below_it() -> None:
    near = layer("near", {"vnfs": {"fw": {"env": None}}, "placement": "first"})
    far = layer("far", {"vnfs": {"fw": {"env": {"A": "1"}, "cpu": 1}}, "placement": {"fw": "pop1"}})
    merged = merge([near, far])
    assert {path: each.origin for path, each in merged.items()} == {
        ("vnfs", "fw", "env"): "near",
        ("placement",): "near",
        ("vnfs", "fw", "cpu"): "far",
    }


def test_tables_must_be_mappings() -> None:
    with pytest.raises(SettingsError, match="here: vnfs is 'fw'; it takes a mapping"):
        layer("here", {"vnfs": "fw"})


def test_keys_compare_content() -> None:
    def callable_placement() -> None: ...

    assert frozen({"a": [1, {"b": Path("x")}]}) == frozen({"a": (1, {"b": Path("x")})})
    assert frozen(Topology((PoP("a"),), images={"x": "y"})) == frozen(
        Topology((PoP("a"),), images={"x": "y"})
    )
    assert frozen(Topology((PoP("a"),))) != frozen(Topology((PoP("b"),)))
    assert frozen(True) != frozen(1)
    assert frozen(callable_placement) == frozen(callable_placement)
    assert len({frozen({"x": 1}), frozen({"x": 1}), frozen({"x": 2})}) == 2

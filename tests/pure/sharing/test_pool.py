"""Who shares what, and when it ends."""

from __future__ import annotations

import pytest

from tests.pure.sharing.conftest import Run
from tests.pure.sharing.fakes import World


def test_tests_that_ask_for_the_same_share(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.sonemu(topology="two.yml", package="fw.son")
        def test_a(service, testbed): assert service.id == "fw-1" and testbed.name == "bed1"
        def test_b(service): assert service.id == "fw-1"
        @pytest.mark.sonemu(vnfs={"fw": {"image": "fw:dev"}})
        def test_c(service): assert service.options == {"vnfs": {"fw": {"image": "fw:dev"}}}
        @pytest.mark.sonemu(package=None)
        def test_d(testbed): pass
        """
    )
    run().assert_outcomes(passed=4)
    assert world.log == [
        "images fw.son fw.son",
        "boot bed1 two.yml",
        "start fw-1 on bed1",
        "end bed1",
        "boot bed2 two.yml",
        "start fw-2 on bed2",
        "end bed2",
        "boot bed3 two.yml",
        "end bed3",
    ]


def test_each_test_has_a_view_of_its_own(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.sonemu(package="fw.son")
        seen = []
        def test_a(service): seen.append(service)
        def test_b(service): assert seen[0] is not service and seen[0].instance is service.instance
        """
    )
    run().assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("scope", "booted"),
    [("session", 1), ("module", 2), ("class", 4), ("function", 5)],
    ids=str,
)
@pytest.mark.parametrize("way", ["mark", "option", "ini"])
def test_scope_says_who_shares(
    pytester: pytest.Pytester, run: Run, world: World, scope: str, booted: int, way: str
) -> None:
    mark = f", scope='{scope}'" if way == "mark" else ", scope='module'" if way == "option" else ""
    source = f"""
        import pytest
        pytestmark = pytest.mark.sonemu(package="fw.son"{mark})
        """
    pytester.makepyfile(
        test_one=source + "class TestX:\n"
        "            def test_a(self, service): pass\n"
        "            def test_b(self, service): pass\n"
        "        def test_c(service): pass\n",
        test_two=source + "def test_d(service): pass\n        class TestY:\n"
        "            def test_e(self, testbed): pass\n",
    )
    if way == "ini":
        pytester.makeini(f"[pytest]\nsonemu_scope = {scope}\n")
    run(*([f"--sonemu-scope={scope}"] if way == "option" else [])).assert_outcomes(passed=5)
    assert len(world.of("boot")) == len(world.of("end")) == booted


def test_an_instance_ends_with_the_last_test_that_can_need_it(
    pytester: pytest.Pytester, run: Run, world: World
) -> None:
    pytester.makepyfile(
        """
        import pytest
        fw = pytest.mark.sonemu(package="fw.son")
        web = pytest.mark.sonemu(package="web.son")
        @fw
        def test_a(service): pass
        @web
        def test_b(service): pass
        @fw
        def test_c(service): pass
        @web
        def test_deselected(service): pass
        def test_last(): pass
        """
    )
    run("--deselect", "test_an_instance_ends_with_the_last_test_that_can_need_it.py::test_deselected")
    ends = [line for line in world.log if line.split()[0] in ("start", "end")]
    assert ends == ["start fw-1 on bed1", "start web-2 on bed2", "end bed2", "end bed1"]


def test_fixtures_decide_when_a_bed_is_needed_no_more(
    pytester: pytest.Pytester, run: Run, world: World
) -> None:
    """Packages named by overridden fixtures are known only as tests run; nobody's bed ends too early."""
    source = """
        import pytest
        @pytest.fixture
        def sonemu_package(): return "{package}"
        def test_a(service): assert service.id == "{service}"
        def test_b(service): assert service.id == "{service}"
    """
    pytester.makepyfile(
        test_1=source.format(package="fw.son", service="fw-1"),
        test_2=source.format(package="web.son", service="web-2"),
        test_3="def test_c(): pass",
    )
    run().assert_outcomes(passed=5)
    assert world.of("end") == ["end bed1", "end bed2"]
    assert world.log.index("end bed1") > world.log.index("boot bed1 one PoP")


def test_same_cause(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.sonemu(package="broken.son", scope="function")
        def test_a(service): pass
        def test_b(service): pass
        @pytest.mark.sonemu(package="fw.son")
        def test_c(service): pass
        """
    )
    result = run()
    result.assert_outcomes(errors=2, passed=1)
    assert world.of("fail") == ["fail broken"]
    assert world.of("end") == ["end bed1", "end bed2"]
    result.stdout.fnmatch_lines(
        [
            "broken: fw did not become ready in 60 s",
            "last log line: no rules",
            "same cause as in test_same_cause.py::test_a: broken: fw did not become ready in 60 s",
            "ERROR test_same_cause.py::test_a - NotReadyError: *",
        ]
    )
    result.stdout.no_fnmatch_line("*pool.py*")


def test_an_image_that_cannot_be_had(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.sonemu(package="no-image.son")
        def test_a(service): pass
        def test_b(service): pass
        @pytest.mark.sonemu(package="fw.son")
        def test_c(service): pass
        """
    )
    result = run()
    result.assert_outcomes(errors=2, passed=1)
    assert world.of("boot") == ["boot bed1 one PoP"]
    result.stdout.fnmatch_lines(
        [
            "VNF 'fw': image 'fw:none' cannot be had",
            "same cause as in test_an_image_that_cannot_be_had.py::test_a: VNF 'fw': image 'fw:none' cannot*",
        ]
    )


def test_a_machine_without_docker_is_asked_once(pytester: pytest.Pytester, run: Run, world: World) -> None:
    world.no_docker = True
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.sonemu(package="fw.son")
        def test_a(service): pass
        @pytest.mark.sonemu(package="web.son")
        def test_b(service): pass
        def test_c(testbed): pass
        """
    )
    result = run()
    result.assert_outcomes(errors=3)
    assert world.log.count("refused") == 1
    result.stdout.fnmatch_lines(["Docker does not answer; run `sonemu doctor`"])


def test_missing_skip(pytester: pytest.Pytester, run: Run, world: World) -> None:
    world.no_docker = True
    pytester.makepyfile(
        """
        def test_a(testbed): pass
        def test_b(testbed): pass
        """
    )
    result = run("--sonemu-missing=skip", "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["SKIPPED*Docker does not answer; run `sonemu doctor`*"])


def test_requires(pytester: pytest.Pytester, run: Run, world: World) -> None:
    world.missing["openvswitch"] = "openvswitch: no Open vSwitch; apt install openvswitch-switch"
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.sonemu(requires=["openvswitch"])
        def test_a(testbed): pass
        @pytest.mark.sonemu(requires="nft")
        def test_b(testbed): pass
        """
    )
    result = run()
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["this machine lacks openvswitch: *apt install openvswitch-switch"])
    run("--sonemu-missing=skip").assert_outcomes(skipped=1, passed=1)


def test_a_bed_that_has_ended_is_replaced(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makepyfile(
        """
        def test_a(testbed): testbed.vanish()
        def test_b(testbed): assert testbed.name == "bed2"
        """
    )
    run().assert_outcomes(passed=2)


def test_collect_only_starts_nothing(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makepyfile("def test_a(testbed): pass")
    result = run("--collect-only")
    assert result.ret == 0
    assert world.log == []


def test_ready_hooks(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makeconftest(
        """
        def pytest_sonemu_testbed_ready(testbed): print("ready", testbed.name)
        def pytest_sonemu_service_ready(service): print("ready", service.id)
        """
    )
    pytester.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.sonemu(package="fw.son")
        def test_a(service): pass
        def test_b(service): pass
        """
    )
    result = run("-s")
    assert result.stdout.str().count("ready bed1") == result.stdout.str().count("ready fw-1") == 1


def test_an_error_while_ending_is_told(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makepyfile(
        """
        def test_a(testbed): pass
        def test_b(): pass
        """
    )
    world.cannot_end = True
    result = run()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*RuntimeError: Docker does not let go"])

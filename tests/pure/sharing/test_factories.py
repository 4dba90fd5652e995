"""Fixtures of any scope, made by `bed_fixture` and `service_fixture`."""

from __future__ import annotations

import pytest

from tests.pure.sharing.conftest import Run
from tests.pure.sharing.fakes import World


def test_two_services_on_one_bed_for_a_module(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makepyfile(
        """
        from pytest_sonemu import bed_fixture, service_fixture
        wan = bed_fixture("two.yml", scope="module")
        fw = service_fixture("fw.son", bed="wan", scope="module", placement="first")
        web = service_fixture("web.son", bed="wan", scope="function")
        def test_a(fw, web, wan): assert (fw.id, web.id, wan.name) == ("fw-1", "web-2", "bed1")
        def test_b(web, fw): assert (fw.id, web.id) == ("fw-1", "web-3")
        """
    )
    run().assert_outcomes(passed=2)
    assert world.log == [
        "images fw.son web.son",
        "boot bed1 two.yml",
        "start fw-1 on bed1",
        "start web-2 on bed1",
        "stop web-2",
        "start web-3 on bed1",
        "stop web-3",
        "stop fw-1",
        "end bed1",
    ]


def test_a_service_of_its_own_takes_settings_from_the_command_line(
    pytester: pytest.Pytester, run: Run, world: World
) -> None:
    pytester.makepyfile(
        """
        from pytest_sonemu import service_fixture
        fw = service_fixture("fw.son", topology="two.yml", vnfs={"fw": {"image": "a", "cpu": 1}})
        def test_a(fw): assert fw.options == {"vnfs": {"fw": {"image": "fw:dev", "cpu": 1}}}
        """
    )
    run("--sonemu-set", "fw.image=fw:dev").assert_outcomes(passed=1)
    assert world.log[1:] == ["boot bed1 two.yml", "start fw-1 on bed1", "end bed1"]


def test_lists_clone_and_scope_comes_from_the_option(
    pytester: pytest.Pytester, run: Run, world: World
) -> None:
    pytester.makepyfile(
        """
        from pytest_sonemu import service_fixture
        any_fw = service_fixture(["fw.son", "web.son"])
        def test_a(any_fw): pass
        def test_b(any_fw): pass
        """
    )
    result = run("-v")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*::test_a?fw?*", "*::test_a?web?*"])
    assert len(world.of("boot")) == 4
    world.log.clear()
    run("--sonemu-scope=module").assert_outcomes(passed=4)
    assert len(world.of("boot")) == 2


def test_a_failed_start_of_a_module_is_shown_once(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makepyfile(
        """
        from pytest_sonemu import service_fixture
        fw = service_fixture("broken.son", scope="module")
        def test_a(fw): pass
        def test_b(fw): pass
        """
    )
    result = run()
    result.assert_outcomes(errors=2)
    assert world.of("fail") == ["fail broken"]
    result.stdout.fnmatch_lines(["same cause as in *::test_a: broken: fw did not become ready in 60 s"])


def test_undo_and_keep(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makepyfile(
        """
        from pytest_sonemu import bed_fixture, service_fixture
        wan = bed_fixture("two.yml", scope="module")
        fw = service_fixture("fw.son", bed="wan", scope="module")
        def test_a(fw): fw.undo(lambda: print("undone"))
        def test_b(fw): assert False
        """
    )
    run("--sonemu-keep=on-failure").assert_outcomes(passed=1, failed=1)
    assert world.log[-1] == "keep bed1 7200"
    assert world.of("stop") == []
    result = run("-s")
    result.stdout.fnmatch_lines(["*undone*"])
    assert world.log[-2:] == ["stop fw-2", "end bed2"]


def test_paths_are_beside_the_file_that_makes_the_fixture(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makeconftest(
        "from pytest_sonemu import service_fixture\nfw = service_fixture('only_here.son', scope='session')\n"
    )
    pytester.path.joinpath("only_here.son").touch()
    sub = pytester.mkdir("sub")
    sub.joinpath("test_sub.py").write_text("def test_a(fw): assert fw.id == 'only_here-1'\n")
    run("--rootdir", str(sub)).assert_outcomes(passed=1)

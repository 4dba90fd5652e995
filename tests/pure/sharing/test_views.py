"""What a test changes is undone, what cannot be undone is replaced, what failed can be kept."""

from __future__ import annotations

import pytest

from tests.pure.sharing.conftest import Run
from tests.pure.sharing.fakes import World


def test_undo_in_reverse_after_the_test(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.sonemu(package="fw.son")
        order = []
        def test_a(service):
            for step in "abc": service.undo(lambda step=step: order.append(step))
            assert order == []
        def test_b(service):
            assert order == ["c", "b", "a"] and service.id == "fw-1"
        """
    )
    run().assert_outcomes(passed=2)


def test_a_failed_undo_is_an_error_and_the_rest_is_undone(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.sonemu(package="fw.son")
        order = []
        def refuse(): raise OSError("no such interface")
        def test_a(service):
            service.undo(lambda: order.append("first"))
            service.undo(refuse, "link-1 up")
        def test_b(service):
            assert order == ["first"] and service.id == "fw-2"
        """
    )
    result = run()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "1 of the changes could not be undone:",
            "  link-1 up: OSError: no such interface",
            "*sonemu teardown*",
            "fw-1 is not as it was before this test (not all *could be undone); the next test gets another",
        ]
    )


def test_a_dirty_instance_is_replaced(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.sonemu(package="fw.son")
        def test_a(service, testbed): service.make_dirty("fw: /etc/nft.conf changed")
        def test_b(service): assert service.id == "fw-2"
        def test_c(service): assert service.id == "fw-2"
        """
    )
    result = run("-rP")
    result.assert_outcomes(passed=3)
    assert world.of("end") == ["end bed1", "end bed2"]
    result.stdout.fnmatch_lines(
        ["fw-1 is not as it was before this test (fw: /etc/nft.conf changed); the next*"]
    )


FAILING = """
    import pytest
    pytestmark = pytest.mark.sonemu(topology="two.yml", package="fw.son")
    undone = []
    def test_a(service): pass
    def test_b(service):
        service.undo(lambda: undone.append("b"))
        assert False
    def test_c(service): assert (service.id, undone) == {expected}
"""


def test_a_failing_test_tells_of_its_bed(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makepyfile(test_it=FAILING.format(expected=("fw-1", ["b"])))
    result = run()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- sonemu -*",
            "bed bed1 on two.yml, shared in the session since test_it.py::test_a",
            "instance fw-1 of fw.son",
            "its folder: /run/sonemu/0/bed1",
        ]
    )
    assert world.of("keep") == []


def test_keep_on_failure(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makepyfile(test_it=FAILING.format(expected=("fw-2", [])))
    result = run("--sonemu-keep=on-failure")
    result.assert_outcomes(passed=2, failed=1)
    assert [line for line in world.log if line.split()[0] in ("keep", "end")] == [
        "keep bed1 7200",
        "end bed2",
    ]
    result.stdout.fnmatch_lines(
        ["kept for 2 hours as it is: TestBed.attach('bed1'), *; `sonemu down bed1` ends it"]
    )


def test_keep_always(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makepyfile("def test_a(testbed): pass\ndef test_b(testbed): pass")
    run("--sonemu-keep=always").assert_outcomes(passed=2)
    assert world.log == ["boot bed1 one PoP", "keep bed1 7200"]


def test_a_test_case_finds_them_as_attributes(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makepyfile(
        """
        import unittest, pytest
        @pytest.mark.sonemu(package="fw.son")
        @pytest.mark.usefixtures("service", "testbed")
        class TestFirewall(unittest.TestCase):
            def setUp(self): self.name = self.service.id
            def test_a(self): self.assertEqual((self.name, self.testbed.name), ("fw-1", "bed1"))
            def test_b(self): self.assertEqual(self.service.id, "fw-1")
        """
    )
    run().assert_outcomes(passed=2)


def test_long_names_without_the_short_plugin(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makepyfile(
        """
        import pytest
        @pytest.fixture
        def service(): return "mine"
        @pytest.mark.sonemu(package="fw.son")
        def test_a(service, sonemu_service, sonemu_testbed):
            assert (service, sonemu_service.id) == ("mine", "fw-1")
        def test_b(testbed): pass
        """
    )
    run(short=False).assert_outcomes(passed=1, errors=1)

"""`pytest --sonemu-plan` shows what would be deployed, once each, and does nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pure.sharing.conftest import Run, run, world
from tests.pure.sharing.fakes import World

__all__ = ["run", "world"]
EXAMPLES = Path(__file__).parents[2] / "example_packages"


def test_each_plan_once_and_nothing_done(pytester: pytest.Pytester, run: Run, world: World) -> None:
    pytester.makepyfile(
        f"""
        import pytest
        from pytest_sonemu import service_fixture
        FW = {str(EXAMPLES / "firewall")!r}
        own = service_fixture({str(EXAMPLES / "chain")!r})
        mark = pytest.mark.sonemu(topology=FW + "/two-pops.yml", package=FW,
            vnfs={{"fw": {{"image": "fw:dev"}}}})
        @mark
        def test_a(service): assert False
        @mark
        def test_b(service, own): assert False
        def test_c(testbed): assert False
        def test_d(): assert False
        """
    )
    result = run("--sonemu-plan")
    text = result.stdout.str()
    assert result.ret == 0, text
    assert world.log == []
    result.stdout.fnmatch_lines(
        [
            "test_each_plan_*.py::test_a and 1 more on two-pops.yml",
            "firewall as 'firewall' in bed 'plan'*",
            "  fw (vnf) in pop1*",
            "      image fw:dev (*",
            "test_each_plan_*.py::test_b on one PoP",
            "chain as 'chain' in bed 'plan'*",
        ]
    )
    assert text.count("in bed 'plan'") == 2
    assert "failed" not in text


def test_what_cannot_be_planned_is_said_and_the_status_tells(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        f"""
        import pytest
        @pytest.mark.sonemu(package={str(EXAMPLES / "firewall")!r}, placement={{"fw": "pop9"}})
        def test_a(service): pass
        """
    )
    result = run("--sonemu-plan")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["cannot be deployed: *pop9*"])

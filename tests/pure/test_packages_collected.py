"""Which packages are tests, what their items are called, and what one says that cannot be deployed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_sonemu.descriptors.pack import pack
from tests.pure.sharing.conftest import Run, run, world
from tests.pure.sharing.fakes import World

__all__ = ["run", "world"]
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "example_packages/firewall"
IDS = [
    *("valid", "images", "starts", "link:outside", "link:inside", "isolation", "limits"),
    *("path:web-in", "stays-up", "stops"),
]


@pytest.fixture
def project(pytester: pytest.Pytester) -> Path:
    ignore = shutil.ignore_patterns("test_*.py", "__pycache__")
    return Path(shutil.copytree(EXAMPLE, pytester.path / "suite/firewall", ignore=ignore))


@pytest.fixture
def archive(pytester: pytest.Pytester, project: Path) -> Path:
    target = pytester.path / "suite/firewall.son"
    target.write_bytes(pack(project))
    return target


def collected(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if "::" in line]


def ids_of(package: str) -> list[str]:
    return [f"{package}::{name}" for name in IDS]


def test_named_ones_are_collected_with_stable_ids(run: Run, project: Path, archive: Path) -> None:
    assert collected(run("--collect-only", "-q", "suite/firewall.son")) == ids_of("suite/firewall.son")
    for name in ("suite/firewall", "suite/firewall/project.yml"):
        assert collected(run("--collect-only", "-q", name)) == ids_of("suite/firewall/project.yml")
    one = run("--collect-only", "-q", "suite/firewall.son::link:inside")
    assert collected(one) == ["suite/firewall.son::link:inside"]
    assert len(collected(run("--collect-only", "-q", "suite/firewall.son", "-k", "link"))) == 2


def test_one_that_merely_lies_in_a_test_path_is_not(
    pytester: pytest.Pytester, run: Run, project: Path, archive: Path
) -> None:
    assert collected(run("--collect-only", "-q", "suite")) == []
    assert collected(run("--collect-only", "-q")) == []
    pytester.makeini("[pytest]\ntestpaths = suite/firewall suite/firewall.son\n")
    assert collected(run("--collect-only", "-q")) == []


@pytest.mark.parametrize(
    ("glob", "found"), [("suite/*.son", "suite/firewall.son"), ("*/firewall", "suite/firewall/project.yml")]
)
def test_globs_of_the_ini_name_packages(
    pytester: pytest.Pytester, run: Run, project: Path, archive: Path, glob: str, found: str
) -> None:
    pytester.makeini(f"[pytest]\nsonemu_packages = {glob}\n")
    assert collected(run("--collect-only", "-q")) == ids_of(found)


def test_what_cannot_be_deployed_fails_once_with_all_its_findings(
    run: Run, project: Path, world: World
) -> None:
    nsd = project / "sources/nsd/firewall.yml"
    nsd.write_text(
        nsd.read_text().replace("'fw:input'", "'fw:inptu'").replace("vnf_name: server", "vnf_name: sever")
    )
    result = run("suite/firewall", "-rs")
    result.assert_outcomes(failed=1, skipped=6)
    text = result.stdout.str()
    assert text.count("error[") >= 2
    assert "firewall.yml:10:" in text
    assert "did you mean" in text
    assert "same cause as in suite/firewall/project.yml::valid" in text
    assert "Traceback" not in text
    assert world.of("boot") == []


def test_a_file_that_is_no_package_is_said_to_be_none(pytester: pytest.Pytester, run: Run) -> None:
    (pytester.path / "odd.son").write_bytes(b"\x7fELF")
    result = run("odd.son")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "*/odd.son: error[[]evt_package_format_invalid]: *",
            "*odd.son: not a package that can be read: 1 error*",
        ]
    )


def test_expectations_are_items_and_their_faults_have_lines(run: Run, project: Path) -> None:
    options = project / "sonemu.yml"
    kept = options.read_text()
    row = "{from: input, to: server, proto: tcp, port: 80, verdict: allow}"
    options.write_text(f"{kept}policy:\n  - {row}\npaths: {{web-in: {{tcp: 8080}}}}\n")
    names = [line.partition("::")[2] for line in collected(run("--collect-only", "-q", "suite/firewall"))]
    assert names == [*IDS[:-3], "policy:input-server-tcp-80-allow", *IDS[-3:]]
    options.write_text(f"{kept}policy:\n  - {row.replace('server', 'sevrer')}\npaths: {{web-on: true}}\n")
    text = run("suite/firewall", "-k", "valid").stdout.str()
    line = len(kept.splitlines()) + 2
    assert (
        f"sonemu.yml:{line}:23: error[sonemu_options]: the service has no VNF or SAP 'sevrer' (did you"
        in text
    )
    assert (
        f"sonemu.yml:{line + 1}:9: error[sonemu_options]: the service has no forwarding path 'web-on'" in text
    )
    options.write_text(f"{kept}policy:\n  - {row.replace('80', '80000')}\n")
    assert f"sonemu.yml:{line}:" in run("suite/firewall", "-k", "valid").stdout.str()
    options.write_text(
        f"{kept}policy:\n  - {row.replace('port: 80, ', '')}\n  - {row.replace('tcp', 'icmp')}\n"
    )
    text = run("suite/firewall", "-k", "valid").stdout.str()
    assert f"sonemu.yml:{line}:5: error[sonemu_options]: a row of the policy without 'port'" in text
    assert f"sonemu.yml:{line + 1}:44: error[sonemu_options]: ICMP has no port" in text


def test_runs_without_packages_import_nothing_of_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    code = (
        "import sys, pytest; status = pytest.main(['-q', '-p', 'no:cacheprovider']);"
        "print([name for name in sys.modules if name.startswith('pytest_sonemu.packages')]); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "[]"

"""The pages say what is: their code lies in files that run, links lead somewhere, tables are complete."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_sonemu.cli import VERBS, main
from pytest_sonemu.handles.results import Outcome
from pytest_sonemu.planning.option_models import sap_option_names, service_option_names, vnf_option_names
from pytest_sonemu.planning.strategies import STRATEGIES
from pytest_sonemu.relay.model import Impairment
from pytest_sonemu.sharing.settings import known_keys
from pytest_sonemu.topology.impairments import impairment_names
from pytest_sonemu.topology.read import read_topology
from pytest_sonemu.topology.schema import IMPAIRMENT_FIELDS, LINK_FIELDS, POP_FIELDS, ROOT_FIELDS, SAP_FIELDS

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("example_packages/**/README.md")),
]
RUNS = [
    *ROOT.glob("docs/**/*_example.py"),
    *ROOT.glob("tests/many/*.py"),
    *ROOT.glob("example_packages/*/test_*.py"),
]

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@by_page
def test_code_on_a_page_lies_in_a_file_that_runs(page: Path) -> None:
    sources = [path.read_text() for path in RUNS]
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        assert any(block.strip("\n") in source for source in sources), f"no file that runs has:\n{block}"


@by_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        path = (page.parent / name) if name else page
        assert path.exists(), target
        if heading:
            assert heading in [anchor(line) for line in path.read_text().splitlines()], target


def anchor(line: str) -> str:
    """A heading's anchor, as GitHub makes it; else nothing."""
    title = line.lstrip("#").strip() if line.startswith("#") else ""
    return re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-")


def names_in(page: str) -> set[str]:
    """Every word that stands in backticks on a page."""
    words = set()
    prose = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    for text in re.findall(r"`([^`\n]+)`", prose):
        words |= {text, *re.findall(r"[\w-]+", text)}
    return words


def test_the_readme_names_every_key_option_and_verb(pytestconfig: pytest.Config) -> None:
    words = names_in("README.md")
    assert set(known_keys()) <= words
    assert {f"sonemu {verb}" for verb in VERBS} <= words
    options = {name for name in vars(pytestconfig.option) if name.startswith("sonemu_")}
    assert options
    assert {f"--{name.replace('_', '-')}" for name in options} <= words


def test_the_marker_s_help_names_every_key(pytestconfig: pytest.Config) -> None:
    (line,) = [line for line in pytestconfig.getini("markers") if line.startswith("sonemu(")]
    assert set(re.findall(r"(\w+)=", line)) == set(known_keys())


def test_the_guide_names_every_option_and_outcome() -> None:
    words = names_in("docs/guide.md")
    assert {*vnf_option_names(), *sap_option_names(), *service_option_names()} <= words
    assert {f'"{placement}"' for placement in STRATEGIES} <= words
    assert set(Outcome.__args__) <= words  # type: ignore[attr-defined]


def test_architecture_names_every_room_and_ruling() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    rooms = [path for path in (ROOT / "pytest_sonemu").iterdir() if (path / "__init__.py").exists()]
    for room in rooms:
        assert f"| `{room.name}/` |" in text
    code = [*ROOT.glob("pytest_sonemu/**/*.py"), *ROOT.glob("pytest_sonemu/**/*.c")]
    used = {number for path in code for number in re.findall(r"\bruling (\d+)", path.read_text())}
    known = set(re.findall(r"^\| (\d+) \|", text, re.MULTILINE))
    assert used <= known


def test_the_guide_s_whole_topology_is_one(tmp_path: Path) -> None:
    """It names every key there is, and can be read."""
    (block,) = re.findall(r"```yaml\n(name: .*?)```", (ROOT / "docs/guide.md").read_text(), re.DOTALL)
    file = tmp_path / "three-sites.yml"
    file.write_text(block)
    topology = read_topology(file)
    assert len(topology.pops) == 3
    for key in (*ROOT_FIELDS, *(LINK_FIELDS.keys() - IMPAIRMENT_FIELDS.keys()), *POP_FIELDS, *SAP_FIELDS):
        assert f"{key}:" in block, key
    assert IMPAIRMENT_FIELDS.keys() == set(impairment_names()) <= names_in("docs/links.md")


def test_a_page_names_every_impairment() -> None:
    names = {each.name for each in fields(Impairment)}
    assert names <= names_in("docs/how_to/impairments.md")


def test_the_guide_s_commands_for_ci_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = (ROOT / "docs/guide.md").read_text().partition("\n## In CI\n")[2].partition("\n## ")[0]
    commands = re.findall(r"^    sonemu ((?:validate|plan|pack) .*)$", section, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["validate", "plan", "pack"]
    (tmp_path / "example_packages").symlink_to(ROOT / "example_packages")
    monkeypatch.chdir(tmp_path)
    for command in commands:
        done = CliRunner().invoke(main, command.split())
        assert done.exit_code == 0, done.output
    assert (tmp_path / "firewall.son").stat().st_size > 1000

"""The recipes of docs/ci.md and the pre-commit hook: their structure, and that they name what exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from pytest_sonemu.cli import VERBS, main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/ci.md").read_text()
PRE_COMMIT, GITHUB, GITLAB = [
    yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
]


def commands(steps: list[Any]) -> list[str]:
    return [
        step if isinstance(step, str) else step["run"]
        for step in steps
        if not isinstance(step, dict) or "run" in step
    ]


def test_the_hook_is_one_that_pre_commit_takes(tmp_path: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert {"id", "name", "entry", "language"} <= set(hook)
    assert (hook["language"], hook["entry"]) == ("python", "sonemu validate")
    assert [hook["id"]] == [each["id"] for repo in PRE_COMMIT["repos"] for each in repo["hooks"]]
    assert re.search(hook["files"], "a/my-service.son")
    assert not re.search(hook["files"], "a/my-service.py")
    broken = tmp_path / "broken.son"
    broken.write_bytes(b"no zip")
    assert CliRunner().invoke(main, [*hook["entry"].split()[1:], str(broken)]).exit_code == 2


def test_the_github_recipe() -> None:
    assert set(GITHUB) == {"name", True, "jobs"}  # YAML 1.1 reads `on` as true
    for job in GITHUB["jobs"].values():
        assert {"runs-on", "steps"} <= set(job)
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])
        assert {"pip install pytest-sonemu", "sonemu doctor"} <= set(commands(job["steps"]))


def test_the_gitlab_recipe() -> None:
    for job in GITLAB.values():
        assert set(job) <= {"image", "tags", "services", "variables", "before_script", "script", "artifacts"}
        assert all(isinstance(line, str) for line in job["script"])
        assert set(job["artifacts"]) <= {"when", "paths", "reports"}


@pytest.mark.parametrize("steps", [GITHUB["jobs"]["packages"]["steps"], GITLAB["packages"]["script"]])
def test_verbs_and_options_in_recipes_exist(steps: list[Any], pytestconfig: pytest.Config) -> None:
    for line in commands(steps):
        words = [word.removeprefix(".venv/bin/") for word in line.split()]
        if words[0] == "sonemu":
            assert words[1] in VERBS
            help_text = CliRunner().invoke(main, [words[1], "--help"]).output
            assert all(word in help_text for word in words if word.startswith("--"))

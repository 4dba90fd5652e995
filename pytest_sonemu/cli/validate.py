"""`sonemu validate`: a verdict on packages that a person or a pipeline can act on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pytest_sonemu.descriptors.read import Verdict

FINDINGS, UNUSABLE = 1, 2


@click.command(short_help="Check packages and projects: all that is wrong, and where.")
@click.argument("packages", nargs=-1, required=True, metavar="PKG...", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    show_default=True,
    help="text is one line a finding, like a compiler's; github makes annotations.",
)
@click.option(
    "--profile",
    type=click.Choice(["lenient", "strict"]),
    help="lenient (default): what cannot be deployed is an error; strict: the published schemas are law.",
)
@click.option("--rule", "rules", multiple=True, metavar="NAME=LEVEL", help="error, warning, info or off.")
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "info", "never"]),
    default="error",
    show_default=True,
    help="The least level that makes the exit code 1.",
)
@click.option("-o", "--output", "target", type=click.Path(path_type=Path, dir_okay=False), help="A file.")
def validate(
    packages: tuple[Path, ...],
    output: str,
    profile: str | None,
    rules: tuple[str, ...],
    fail_on: str,
    target: Path | None,
) -> None:
    """Check packages (.son, .tgo) and project folders: all that is wrong, with file, line and column.

    Levels of rules are also read from [tool.sonemu.rules] in pyproject.toml. Needs neither root nor
    Docker. Exit code 0: clean; 1: findings at or above --fail-on; 2: not a package at all.
    """
    from pytest_sonemu.descriptors.rule_settings import levels_from
    from pytest_sonemu.errors import SettingsError
    from pytest_sonemu.packages.judging import judge

    try:
        levels = levels_from(Path.cwd(), profile=profile, settings=rules)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    verdicts = [judge(path, levels) for path in packages]
    text = _rendered(verdicts, output, levels.profile)
    if target is not None:
        target.write_text(text + "\n", encoding="utf-8")
    else:
        # A name in a package may hold what no terminal can show.
        click.echo(text.encode("utf-8", "backslashreplace").decode("utf-8"))
    raise SystemExit(_exit_code(verdicts, fail_on))


def _rendered(verdicts: list[Verdict], output: str, profile: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    from pytest_sonemu.reports import verdicts as render

    if output == "json":
        return render.as_json(verdicts, profile)
    if output == "sarif":
        try:
            own = version("pytest-sonemu")
        except PackageNotFoundError:  # run from a checkout that is not installed
            own = "0"
        return render.as_sarif(verdicts, own, Path.cwd())
    if output == "github":
        return render.as_github(verdicts, Path.cwd())
    return render.as_text(verdicts)


def _exit_code(verdicts: list[Verdict], fail_on: str) -> int:
    from pytest_sonemu.descriptors.rules import at_least

    if not all(verdict.usable for verdict in verdicts):
        return UNUSABLE
    found = [finding for verdict in verdicts for finding in verdict.findings]
    if fail_on != "never" and any(at_least(finding.level, fail_on) for finding in found):
        return FINDINGS
    return 0

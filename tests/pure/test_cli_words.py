"""What the verbs say: nothing cut off, nothing wrapped, and which bed is meant."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner
from rich.table import Table

from pytest_sonemu.cli import VERBS, console, main
from pytest_sonemu.emulation import client


def test_the_help_says_each_verb_whole() -> None:
    listed = CliRunner().invoke(main, ["--help"]).output
    context = click.Context(main)
    for verb in VERBS:
        command = main.get_command(context, verb)
        assert command is not None
        assert command.short_help, verb
        assert len(command.short_help) <= 60, verb
        assert command.short_help in listed


def test_tables_are_not_wrapped_off_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    addresses = "; ".join(f"port{number} 10.30.{number}.1/30" for number in range(20))
    table = Table("", "addresses", "container", box=None, pad_edge=False)
    table.add_row("fw", addresses, "sonemu-demo-fw")
    console().print(table)
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 2
    assert addresses in shown[1]
    assert shown[1].rstrip().endswith("sonemu-demo-fw")


@pytest.mark.parametrize(
    ("up", "said"),
    [
        ([], "no test bed is up; `sonemu up` boots one"),
        (["one", "two"], "several beds are up; name one: one, two"),
    ],
)
def test_a_verb_without_a_bed(monkeypatch: pytest.MonkeyPatch, up: list[str], said: str) -> None:
    monkeypatch.setattr(client, "beds", lambda: [SimpleNamespace(name=name) for name in up])
    done = CliRunner().invoke(main, ["status"])
    assert done.exit_code == 1
    assert done.output == f"Error: {said}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("trace lab a b --tcp 80 --udp 53", "name one of --tcp, --udp, --icmp and --http"),
        ("trace lab a b --tcp 80 --icmp", "name one of --tcp, --udp, --icmp and --http"),
        ("graph lab --svg {}/x.svg --dot", "--svg and --dot exclude each other"),
    ],
)
def test_options_that_exclude_each_other(tmp_path: Path, words: str, said: str) -> None:
    done = CliRunner().invoke(main, words.format(tmp_path).split())
    assert done.exit_code == 2
    assert said in done.output
    assert not list(tmp_path.iterdir())


def test_doctor_lists_only_what_this_version_uses() -> None:
    from pytest_sonemu.cli.machine_checks import check_programs

    checks = {check.name: check for check in check_programs()}
    assert checks["Open vSwitch"].detail.startswith("not used by this version")
    assert not checks["Open vSwitch"].mend
    assert "netem" not in Path(__file__).parents[2].joinpath("pytest_sonemu/cli/kernel_checks.py").read_text()

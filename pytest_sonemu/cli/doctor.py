"""`sonemu doctor`: what this machine has, what is used instead, and the command that mends the rest."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

STYLES = {"ok": "green", "instead": "yellow", "missing": "red"}


@click.command(short_help="Is this machine ready? If not, which command mends it?")
@click.option("--json", "as_json", is_flag=True, help="One JSON list, for programs.")
@click.option(
    "--install-keeper",
    is_flag=True,
    help="As root: install the root-owned copy that a sudoers line may name.",
)
def doctor(as_json: bool, install_keeper: bool) -> None:
    """Check this machine: each line is ok, instead or missing.

    The exit status is 1 if something that every test bed needs is missing.
    """
    from pytest_sonemu.cli import console

    if install_keeper:
        from pytest_sonemu.cli.keeper_copy import install, sudoers_text

        for line in install():
            click.echo(line)
        click.echo(sudoers_text())
        return
    from pytest_sonemu.cli.machine_checks import all_checks

    checks = all_checks()
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        from rich.text import Text

        out = console()
        width = max(len(check.name) for check in checks)
        for check in checks:
            text = Text.assemble(
                (
                    f"{check.state:8}",
                    STYLES[check.state] if check.needed or check.state != "missing" else "yellow",
                ),
                f" {check.name:{width}}  {check.detail}",
            )
            out.print(text)
            if check.mend:
                out.print(Text(f"{'':8} {'':{width}}  -> {check.mend}", style="dim"))
    if any(check.failed for check in checks):
        sys.exit(1)

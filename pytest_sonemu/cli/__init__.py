"""`sonemu`, the command line: one file a verb, loaded when it is called."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

# In the order in which `sonemu --help` lists them: each a module here with a command of that name.
VERBS = (
    "doctor",
    "init",
    "validate",
    "plan",
    "pack",
    "schema",
    "up",
    "down",
    "push",
    "start",
    "stop",
    "status",
    "logs",
    "exec",
    "trace",
    "graph",
    "ps",
    "clean",
)

# Columns; tables too are as wide as what is in them, for grep and for files.
UNWRAPPED = 10_000


class Verbs(click.Group):
    """Loads the file of a verb, and reports this project's errors as one message without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = getattr(import_module(f"{__name__}.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from pytest_sonemu.errors import did_you_mean

        name = args[0] if args else ""
        if name not in VERBS:
            ctx.fail(f"no verb '{name}'{did_you_mean(name, VERBS)}; there are: {', '.join(VERBS)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        from pytest_sonemu.errors import SonemuError

        try:
            return super().invoke(ctx)
        except SonemuError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pytest-sonemu", prog_name="sonemu")
def main() -> None:
    """An emulated NFV infrastructure for tests, and service packages that run on it."""


def console() -> Console:
    """Where verbs write: colours on a terminal, plain and unwrapped lines elsewhere."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else UNWRAPPED
    return Console(highlight=False, soft_wrap=True, emoji=False, width=width)

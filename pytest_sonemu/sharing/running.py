"""The settings of a run from command line and ini, and the session's `Sharing`, made when first used."""

from __future__ import annotations

import pytest

from pytest_sonemu.errors import SettingsError
from pytest_sonemu.sharing.session import Sharing
from pytest_sonemu.sharing.settings import (
    ARTIFACTS,
    KEEPS,
    MISSINGS,
    PCAPS,
    SCOPES,
    Layer,
    RunSettings,
    Setting,
    TestSettings,
    check_seed,
    describe,
    one_of,
    parse_set,
)

_SHARING = pytest.StashKey[Sharing]()
_RUN = pytest.StashKey[RunSettings]()


def run_settings(config: pytest.Config) -> RunSettings:
    """Read and checked once. Raises pytest.UsageError."""
    if _RUN not in config.stash:
        try:
            config.stash[_RUN] = _read(config)
        except SettingsError as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[_RUN]


def sharing_of(config: pytest.Config) -> Sharing:
    """This session's sharing. Raises pytest.UsageError for options that cannot be used."""
    if _SHARING not in config.stash:
        config.stash[_SHARING] = Sharing(config, run_settings(config))
    return config.stash[_SHARING]


def sharing_if_used(config: pytest.Config) -> Sharing | None:
    return config.stash.get(_SHARING, None)


def describe_run(run: RunSettings) -> list[str]:
    """What holds for the whole run, a line each with its origin."""
    rows: dict[tuple[str, ...], Setting] = {
        ("keep",): run.keep,
        ("missing",): run.missing,
        ("scope",): run.scope,
        ("artifacts",): run.artifacts,
        ("pcap",): run.pcap,
        ("seed",): run.seed,
    }
    if run.attach:
        rows[("attach",)] = Setting(run.attach, "command line or ini")
    for layer in (run.ini, run.command_line):
        rows.update({path: Setting(value, layer.origin) for path, value in layer.leaves.items()})
    return describe(rows)


def describe_test(settings: TestSettings) -> list[str]:
    return describe(settings.origins)


def _read(config: pytest.Config) -> RunSettings:
    ini_file = config.inipath.name if config.inipath is not None else "ini"
    invocation = (config.invocation_params.dir, config.rootpath)
    beside_ini = (
        (config.inipath.parent, config.rootpath) if config.inipath is not None else (config.rootpath,)
    )
    empty = Layer("command line", {})
    entries = config.getoption("sonemu_set")
    seed = Setting(config.getoption("sonemu_seed"), "command line")
    check_seed(seed)
    return RunSettings(
        seed=seed,
        keep=_choice(config, "keep", KEEPS, ini_file),
        missing=_choice(config, "missing", MISSINGS, ini_file),
        scope=_choice(config, "scope", SCOPES, ini_file),
        artifacts=_choice(config, "artifacts", ARTIFACTS, ini_file),
        pcap=_choice(config, "pcap", PCAPS, ini_file),
        attach=config.getoption("sonemu_attach") or config.getini("sonemu_attach"),
        command_line=parse_set(entries, "command line", invocation) if entries else empty,
        ini=parse_set(config.getini("sonemu_set"), ini_file, beside_ini),
    )


def _choice(config: pytest.Config, name: str, choices: tuple[str, ...], ini_file: str) -> Setting:
    default: Setting = getattr(RunSettings(), name)
    asked, written = config.getoption(f"sonemu_{name}"), config.getini(f"sonemu_{name}")
    if asked is not None:
        setting = Setting(asked, "command line")
    elif written:
        setting = Setting(written, ini_file)
    else:
        setting = default
    one_of(f"sonemu_{name}", setting, choices)
    return setting

"""One model for what can be set, and one order: the nearest layer that says something wins.

From the strongest: command line, parametrisation, marker (function, class, module), overridden
fixture, ini, `sonemu.yml` beside the package, default. Layers merge leaf by
leaf: a function's `vnfs={"fw": {"image": "fw:dev"}}` leaves the module's `vnfs={"web": ...}` alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from pytest_sonemu.errors import SettingsError, did_you_mean

Scope = Literal["session", "module", "class", "function"]
Keep = Literal["never", "on-failure", "always"]
Missing = Literal["error", "skip"]
SCOPES: tuple[str, ...] = get_args(Scope)
KEEPS: tuple[str, ...] = get_args(Keep)
MISSINGS: tuple[str, ...] = get_args(Missing)
ARTIFACTS: tuple[str, ...] = ("never", "on-failure", "always")
PCAPS: tuple[str, ...] = ("never", "on-failure")

Path_ = tuple[str, ...]

OWN_KEYS = ("topology", "package", "scope", "requires", "exclusive", "seed")
# The keys that are handed on to `TestBed.start`; their values are checked there and by planning.options.
SERVICE_KEYS = (
    "vnfs", "saps", "links", "images", "placement", "overprovision", "address_plan", "routes", "ipv6",
    "offload", "mtu", "container_names",
)  # fmt: skip
_TABLES = ("vnfs", "saps", "links", "images")
_TEXT_KEYS = ("topology", "package", "image", "build", "env", "secrets", "sysctls", "images", "placement")


@dataclass(frozen=True)
class Layer:
    """What one place says: `leaves` by path (`("vnfs", "fw", "image")`), `origin` as a person calls it."""

    origin: str
    leaves: Mapping[Path_, object]


@dataclass(frozen=True)
class Setting:
    value: object
    origin: str


@dataclass(frozen=True)
class RunSettings:
    """What holds for the whole run. `attach` names the bed that it stands on; empty: beds of its own."""

    keep: Setting = Setting("never", "default")
    missing: Setting = Setting("error", "default")
    scope: Setting = Setting("session", "default")
    artifacts: Setting = Setting("on-failure", "default")
    pcap: Setting = Setting("on-failure", "default")
    attach: str = ""
    seed: Setting = Setting(0, "default")
    command_line: Layer = Layer("command line", {})
    ini: Layer = Layer("ini", {})


@dataclass(frozen=True)
class TestSettings:
    """What holds for one test, with the origin of each leaf. Paths are absolute.

    `given` are the options without those of `sonemu.yml`.
    """

    __test__ = False

    topology: object = None
    package: object = None
    scope: Scope = "session"
    requires: tuple[str, ...] = ()
    exclusive: bool = False
    seed: int = 0
    options: Mapping[str, object] = field(default_factory=dict)
    given: Mapping[str, object] = field(default_factory=dict)
    origins: Mapping[Path_, Setting] = field(default_factory=dict)


def known_keys() -> tuple[str, ...]:
    """The keys of the marker and of `sonemu_settings`."""
    return OWN_KEYS + SERVICE_KEYS


def layer(origin: str, values: Mapping[str, object], folders: Sequence[Path] = ()) -> Layer:
    """A layer from a mapping; relative paths in it are looked for in `folders`, in order.

    Raises SettingsError for a key that does not exist and for a file that is in none of the folders.
    """
    leaves: dict[Path_, object] = {}
    for key, value in values.items():
        if key not in known_keys():
            raise SettingsError(
                f"{origin}: unknown key '{key}'{did_you_mean(str(key), known_keys())}; "
                f"there are: {', '.join(known_keys())}"
            )
        if key in _TABLES or (key == "placement" and isinstance(value, Mapping)):
            leaves.update(_flatten((key,), value, origin))
        else:
            leaves[(key,)] = value
    return Layer(origin, {path: _located(path, value, origin, folders) for path, value in leaves.items()})


def merge(layers: Iterable[Layer]) -> dict[Path_, Setting]:
    """All leaves, the strongest layer first. A leaf also hides what is said above or below it."""
    merged: dict[Path_, Setting] = {}
    for each in layers:
        stronger = [_slot(path) for path in merged]
        for path, value in each.leaves.items():
            slot = _slot(path)
            if not any(slot[: len(other)] == other or other[: len(slot)] == slot for other in stronger):
                merged[path] = Setting(value, each.origin)
    return merged


def resolve(layers: Iterable[Layer], run: RunSettings, below: Layer | None = None) -> TestSettings:
    """The settings of one test from the layers between command line and ini, strongest first.

    `below` is what `sonemu.yml` beside the package says.

    Raises SettingsError for a value that cannot be used.
    """
    merged = merge([run.command_line, *layers, run.ini, *([below] if below is not None else [])])
    own = {path[0]: setting for path, setting in merged.items() if path[0] in OWN_KEYS}
    scope = run.scope if run.scope.origin == "command line" else own.get("scope", run.scope)
    merged[("scope",)] = scope
    for key in ("topology", "package"):
        if key in own and isinstance(own[key].value, (list, tuple)):
            raise SettingsError(
                f"{own[key].origin}: a list as {key} clones tests that name a fixture of ours as an argument,"
                " and works in the marker only; here one is needed"
            )
    options: dict[str, Any] = {}
    for path, setting in merged.items():
        if path[0] not in OWN_KEYS:
            _put(options, path, setting.value)
    return TestSettings(
        topology=own["topology"].value if "topology" in own else None,
        package=own["package"].value if "package" in own else None,
        scope=cast(Scope, one_of("scope", scope, SCOPES)),
        requires=_names("requires", own.get("requires")),
        exclusive=_flag("exclusive", own.get("exclusive")),
        seed=check_seed(own.get("seed", run.seed)),
        options=options,
        given=options,
        origins=merged,
    )


def check_seed(setting: Setting) -> int:
    """The value, if it can be a seed. Raises SettingsError."""
    if (
        isinstance(setting.value, bool)
        or not isinstance(setting.value, int)
        or not 0 <= setting.value < 2**63
    ):
        raise SettingsError(f"{setting.origin}: seed is {setting.value!r}; it is a whole number from 0 on")
    return setting.value


def one_of(key: str, setting: Setting, choices: Sequence[str]) -> str:
    """The value, if it is one of `choices`. Raises SettingsError."""
    if isinstance(setting.value, str) and setting.value in choices:
        return setting.value
    raise SettingsError(
        f"{setting.origin}: {key} is {setting.value!r}{did_you_mean(str(setting.value), choices)}; "
        f"it is one of: {', '.join(choices)}"
    )


def parse_set(entries: Iterable[str], origin: str, folders: Sequence[Path] = ()) -> Layer:
    """A layer from `fw.image=fw:dev`, `*.image=sonemu/vnf-base`, `placement=first`; a later entry wins.

    `*.image` is the map's entry for every image that is not to be had; what stands before any other
    dot is a vnf_id. Raises SettingsError.
    """
    from pytest_sonemu.planning.options import impairment_path

    leaves: dict[Path_, object] = {}
    for entry in entries:
        name, equals, text = entry.partition("=")
        head, dot, rest = name.strip().partition(".")
        if not equals or not head or (dot and not all(rest.split("."))):
            raise SettingsError(
                f"{origin}: '{entry}' is not a setting; write it as in fw.image=fw:dev or placement=first"
            )
        if not dot:
            path: Path_ = (head,)
        elif (head, rest) == ("*", "image"):
            path = ("images", "*")
        elif head in ("images", "placement"):
            path = (head, rest)  # the name of an image has dots of its own
        elif head in ("vnfs", "saps"):
            path = (head, *rest.split(".", 2))
        elif head == "links":
            path = (head, *impairment_path(rest))
        else:
            path = ("vnfs", head, *rest.split(".", 1))
        if path[0] in ("vnfs", "saps") and len(path) == 4 and path[2] == "interfaces":
            path = (*path[:3], *impairment_path(path[3]))
        leaves[path] = _parsed(path, text.strip())
    mapping: dict[str, Any] = {}
    for path, value in leaves.items():
        _put(mapping, path, value)
    return layer(origin, mapping, folders)


def describe(settings: Mapping[Path_, Setting]) -> list[str]:
    """A line per leaf with its origin; the values of secrets are not shown."""
    rows = [
        (".".join(path), _shown(path, each.value), each.origin) for path, each in sorted(settings.items())
    ]
    width = max((len(f"{name} = {value}") for name, value, _ in rows), default=0)
    return [f"{f'{name} = {value}':<{width}}  # {origin}" for name, value, origin in rows]


def _shown(path: Path_, value: object) -> str:
    if "secrets" in path:
        return "***"
    if isinstance(value, (str, Path)):
        return str(value)
    name = getattr(value, "name", None)
    return f"{type(value).__name__} {name}" if isinstance(name, str) else repr(value)


def _flatten(path: Path_, value: object, origin: str) -> dict[Path_, object]:
    if path[2:] == ("mounts",) and isinstance(value, Mapping):
        return {path: [f"{source}:{target}" for source, target in value.items()]}
    if not isinstance(value, Mapping):
        if len(path) == 1:
            raise SettingsError(f"{origin}: {'.'.join(path)} is {value!r}; it takes a mapping")
        return {path: value}
    if not value:
        return {path: value} if len(path) > 2 else {}
    leaves: dict[Path_, object] = {}
    for key, inner in value.items():
        leaves.update(_flatten((*path, str(key)), inner, origin))
    return leaves


def _slot(path: Path_) -> Path_:
    # An image and a folder to build it from answer the same question, so the nearer hides the other.
    if len(path) == 3 and path[0] == "vnfs" and path[2] == "build":
        return (*path[:2], "image")
    return path


def _put(target: dict[str, Any], path: Path_, value: object) -> None:
    for word in path[:-1]:
        target = target.setdefault(word, {})
    target[path[-1]] = value


def _parsed(path: Path_, text: str) -> object:
    """Text of the command line as the value it stands for: true/false, JSON lists and mappings, else text."""
    if any(word in _TEXT_KEYS for word in path):
        return text
    if text in ("true", "false"):
        return text == "true"
    if text[:1] in ("[", "{"):
        import yaml

        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SettingsError(f"{'.'.join(path)}={text} cannot be read as YAML: {error}") from None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _located(path: Path_, value: object, origin: str, folders: Sequence[Path]) -> object:
    """The value with its relative paths made absolute; lists in the marker are located one by one later."""
    option = path[2] if len(path) == 3 and path[0] == "vnfs" else None
    if option == "mounts" and isinstance(value, (str, list, tuple)):
        entries = [value] if isinstance(value, str) else value
        return [_mount(path, entry, origin, folders) for entry in entries]
    if path in (("topology",), ("package",)) or option == "build":
        return _find(path, value, origin, folders) if isinstance(value, (str, os.PathLike)) else value
    return value


def _mount(path: Path_, entry: object, origin: str, folders: Sequence[Path]) -> object:
    if not isinstance(entry, str) or entry.startswith("/") or ":" not in entry:
        return entry
    source, colon, rest = entry.partition(":")
    return f"{_find(path, source, origin, folders)}{colon}{rest}"


def _find(path: Path_, value: str | os.PathLike[str], origin: str, folders: Sequence[Path]) -> Path:
    places = folders or (Path.cwd(),)
    for folder in places:
        found = Path(folder, value)
        if found.exists():
            return found.resolve()
    where = ", ".join(str(folder) for folder in dict.fromkeys(places))
    raise SettingsError(f"{origin}: {'.'.join(path)} '{os.fspath(value)}' does not exist; looked in: {where}")


def _names(key: str, setting: Setting | None) -> tuple[str, ...]:
    if setting is None or setting.value is None:
        return ()
    value = (setting.value,) if isinstance(setting.value, str) else setting.value
    if not isinstance(value, (list, tuple, set, frozenset)) or not all(
        isinstance(each, str) for each in value
    ):
        raise SettingsError(
            f"{setting.origin}: {key} is {setting.value!r}; it takes a name or a list of names"
        )
    return tuple(value)


def _flag(key: str, setting: Setting | None) -> bool:
    if setting is None:
        return False
    if not isinstance(setting.value, bool):
        raise SettingsError(f"{setting.origin}: {key} is {setting.value!r}; it is True or False")
    return setting.value

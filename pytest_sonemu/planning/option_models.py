"""What a person may ask for beside the package: options of one VNF, of one service.

The marker, `sonemu.yml`, arguments in Python and `--sonemu-set` all end here, in one typed model.
Options that were not given keep their default and never win over a given one when they are merged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pytest_sonemu.planning.plan import MountPlan, Network
from pytest_sonemu.topology.impairments import Access, Impairments

if TYPE_CHECKING:
    from pytest_sonemu.descriptors.model import NetworkService
    from pytest_sonemu.topology.model import Topology

EVERY_VNF = "*"

AddressPlanName = Literal["vim-emu", "seed", "llcm"]
ContainerNames = Literal["sonemu", "mn"]
Routes = Literal["all", "path", "none"] | tuple[Network, ...]
ReadyCondition = str | Callable[..., object]
PlacementCallable = Callable[["NetworkService", "Topology"], Mapping[str, str]]
Placement = str | Mapping[str, str] | PlacementCallable


class Secret:
    """A value that shows itself to nobody who does not ask: `reveal()` gives it, all else says `***`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))


@dataclass(frozen=True, slots=True)
class VnfOptions:
    """Options of one VNF. Times in seconds, `cpu` in cores, `memory` in bytes.

    `ipv6` gives its links both families. `offload` off: what it sends and gets is cut and summed as on
    a wire, at a price in speed. `interfaces`, by connection point: what its cable does to frames.

    `given` are the names of the options that were really set. Made in Python without it, those that
    differ from their default count as given.
    """

    image: str | None = None
    build: Path | None = None
    mounts: tuple[MountPlan, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    command: tuple[str, ...] | None = None
    cpu: float | None = None
    memory: int | None = None
    cap_add: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    ready: tuple[ReadyCondition, ...] = ()
    settle: float = 1.0
    ready_timeout: float = 60.0
    routes: Routes | None = None
    transparent: bool | tuple[str, str] = False
    offload: bool = True
    ipv6: bool = False
    mtu: int | None = None
    grace: float = 0.2
    pop: str | None = None
    dirty_ignore: tuple[str, ...] = ()
    no_new_privileges: bool = False
    interfaces: Mapping[str, Access] = field(default_factory=dict)
    given: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    def __post_init__(self) -> None:
        _note_given(self, _VNF_DEFAULTS)


@dataclass(frozen=True, slots=True)
class SapOptions:
    """Options of one SAP: the PoP it stands in, the image it runs, its way out of the bed, whether its
    interfaces may leave segments and checksums to the kernel, what each of them does to frames."""

    pop: str | None = None
    image: str | None = None
    uplink: str | None = None
    offload: bool = True
    interfaces: Mapping[str, Access] = field(default_factory=dict)
    given: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    def __post_init__(self) -> None:
        _note_given(self, _SAP_DEFAULTS)


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """Options of one service. `vnfs` is keyed by vnf_id; `"*"` holds what counts for all of them, and
    `<vnf_id>.<unit_id>` what counts for one unit of a VNF of several.

    `links`, by id: what a virtual link does to frames.
    `images` maps image references, exact or with fnmatch patterns, to images to run instead. PoPs that
    declare a capacity are filled up to `overprovision` times that.
    `container_names` "mn" names containers `mn.<vnf_id>`, as clients of old emulators expect it.
    """

    vnfs: Mapping[str, VnfOptions] = field(default_factory=dict)
    saps: Mapping[str, SapOptions] = field(default_factory=dict)
    links: Mapping[str, Impairments] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    placement: Placement = "round-robin"
    overprovision: float = 1.0
    address_plan: AddressPlanName = "vim-emu"
    routes: Routes = "path"
    container_names: ContainerNames = "sonemu"
    ipv6: bool = False
    offload: bool = True
    mtu: int | None = None
    given: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    def __post_init__(self) -> None:
        _note_given(self, _SERVICE_DEFAULTS)

    def vnf(self, vnf_id: str) -> VnfOptions:
        """What counts for one VNF: its own options over those of `"*"`."""
        own, every = self.vnfs.get(vnf_id), self.vnfs.get(EVERY_VNF)
        if own is None or every is None:
            return own or every or _NO_VNF_OPTIONS
        return _merge_two(every, own)

    def offloads(self, endpoint: str, *, is_vnf: bool) -> bool:
        """Whether an endpoint's interfaces keep their offloads: by its own options, else the service's."""
        own: VnfOptions | SapOptions = self.vnf(endpoint) if is_vnf else self.sap(endpoint)
        return own.offload if "offload" in own.given else self.offload

    def access(self, endpoint: str, *, is_vnf: bool) -> Mapping[str, Access]:
        """What the cables of an endpoint's interfaces do to frames, by connection point."""
        return (self.vnf(endpoint) if is_vnf else self.sap(endpoint)).interfaces

    def sap(self, sap_id: str) -> SapOptions:
        return self.saps.get(sap_id) or _NO_SAP_OPTIONS


_Options = TypeVar("_Options", VnfOptions, SapOptions, ServiceOptions)


def _defaults(model: type[Any]) -> dict[str, Any]:
    return {
        item.name: item.default_factory() if callable(item.default_factory) else item.default
        for item in fields(model)
        if item.name != "given"
    }


_VNF_DEFAULTS = _defaults(VnfOptions)
_SAP_DEFAULTS = _defaults(SapOptions)
_SERVICE_DEFAULTS = _defaults(ServiceOptions)


def _note_given(options: Any, defaults: Mapping[str, Any]) -> None:
    if not options.given:
        given = frozenset(name for name, default in defaults.items() if getattr(options, name) != default)
        object.__setattr__(options, "given", given)


_NO_VNF_OPTIONS = VnfOptions()
_NO_SAP_OPTIONS = SapOptions()


def merge(*options: ServiceOptions) -> ServiceOptions:
    """All of them in one, key by key; where two give the same key the later one wins.

    Mappings (`vnfs`, `images`, `env`, …) are merged entry by entry, lists are replaced as a whole.
    """
    result = ServiceOptions()
    for one in options:
        result = _merge_two(result, one)
    return result


def merge_vnf_options(earlier: VnfOptions, later: VnfOptions) -> VnfOptions:
    """One VNF's options; what `later` was given wins."""
    return _merge_two(earlier, later)


def _merge_two(earlier: _Options, later: _Options) -> _Options:
    changes: dict[str, Any] = {"given": earlier.given | later.given}
    for name in later.given:
        new, old = getattr(later, name), getattr(earlier, name)
        if isinstance(new, Mapping) and isinstance(old, Mapping):
            new = _merge_mappings(old, new)
        changes[name] = new
    if isinstance(later, VnfOptions):
        # An image and a build exclude each other: the one named last is meant.
        for name, other in (("image", "build"), ("build", "image")):
            if name in later.given and other not in later.given:
                changes[other] = None
    return replace(earlier, **changes)


def _merge_mappings(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        before = merged.get(key)
        if isinstance(value, (VnfOptions, SapOptions)) and before is not None:
            value = _merge_two(before, value)
        merged[key] = value
    return merged


def vnf_option_names() -> Iterable[str]:
    return _VNF_DEFAULTS


def sap_option_names() -> Iterable[str]:
    return _SAP_DEFAULTS


def service_option_names() -> Iterable[str]:
    return _SERVICE_DEFAULTS

"""The kernel's own impairments on a direct link, where this kernel has them."""

from __future__ import annotations

from pytest_sonemu.emulation import namespaces
from tests.links.lab import Lab, Site


def join_by_netem(lab: Lab, a: Site, b: Site, words: str, *, joined: bool = False) -> None:
    """A direct link, with netem on both outer ends: `words` are tc's, for example `delay 10ms loss 1%`.

    With `joined` the two are a direct link already, and what netem did so far is replaced.
    """
    if not joined:
        lab.join_directly(a, b)
    # Not `replace`: that changes what is named and keeps the rest.
    gone = "".join(f"qdisc del dev {site.name} root\n" for site in (a, b)) if joined else ""
    batch = gone + "".join(f"qdisc add dev {site.name} root netem {words}\n" for site in (a, b))
    namespaces.run_inside(lab.fabric, ["tc", "-batch", "-"], batch)

"""The library in a plain script: boot a test bed, start a package, look at it, and be gone."""

from __future__ import annotations

from pathlib import Path

from pytest_sonemu import TestBed

FIREWALL = Path(__file__).parents[1] / "example_packages/firewall"


def main() -> None:
    with TestBed(FIREWALL / "two-pops.yml") as bed:
        print(bed)
        service = bed.start(FIREWALL)
        print(service.sap("input").http("http://server/").text, end="")
        print(service.connect("input", "server", tcp=23))
        print(service.vnf("fw").exec(["nft", "list", "chain", "inet", "firewall", "forward"]).stdout)


if __name__ == "__main__":
    main()

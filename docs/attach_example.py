"""A second process looks at a bed that another one has booted: `python attach_example.py BED`.

Whatever runs there: it asks for no VNF or SAP by name.
"""

from __future__ import annotations

import sys

from pytest_sonemu import TestBed


def main(name: str) -> None:
    with TestBed.attach(name) as bed:  # lets go at the end; the bed lives on
        for service in bed.services:
            print(f"{service.id}: {', '.join(service.vnfs)}")
            for link in service.links.values():
                print(f"  {link.id}: {link.stats().packets} packets")


if __name__ == "__main__":
    main(sys.argv[1])

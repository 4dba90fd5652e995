"""A second process looks at a bed that another one has booted: `python attach_example.py BED`."""

from __future__ import annotations

import sys

from pytest_sonemu import TestBed


def main(name: str) -> None:
    with TestBed.attach(name) as bed:  # lets go at the end; the bed lives on
        for service in bed.services:
            print(f"{service.id}: {', '.join(service.vnfs)}")
            print(service.sap("input").http("http://server/").text, end="")


if __name__ == "__main__":
    main(sys.argv[1])

"""The rest: the bed itself, its health, its end, and the description of this API."""

from __future__ import annotations

from flask import Blueprint, Response

from pytest_sonemu.errors import BedGoneError
from pytest_sonemu.gatekeeper.answers import answer
from pytest_sonemu.gatekeeper.model import (
    Health,
    HostView,
    PopLinkView,
    PopView,
    TopologyView,
    Welcome,
)
from pytest_sonemu.gatekeeper.openapi import document, version
from pytest_sonemu.gatekeeper.problems import refused
from pytest_sonemu.gatekeeper.state import here


def bed_routes(blueprint: Blueprint) -> None:
    """Put the routes on a blueprint."""
    blueprint.add_url_rule("/", view_func=read_root, methods=["GET"])
    blueprint.add_url_rule("/health", view_func=read_health, methods=["GET"])
    blueprint.add_url_rule("/topology", view_func=read_topology, methods=["GET"])
    blueprint.add_url_rule("/openapi.json", view_func=read_openapi, methods=["GET"])
    blueprint.add_url_rule("/emulator/exit", view_func=end_emulation, methods=["PUT"])


def read_root() -> Response:
    return answer(Welcome("pytest-sonemu gatekeeper", version(), here().emulation.name))


def read_health() -> Response:
    gatekeeper = here()
    packages = len(gatekeeper.catalogue)
    try:
        instances = sum(map(len, gatekeeper.lifecycle.listing()))
        notes = tuple(gatekeeper.emulation.notes())
    except BedGoneError as error:
        return answer(Health("gone", gatekeeper.emulation.name, packages, 0, (str(error),)), 503)
    return answer(Health("ok", gatekeeper.emulation.name, packages, instances, notes))


def read_topology() -> Response:
    topology = here().emulation.topology
    return answer(
        TopologyView(
            topology.name,
            tuple(PopView(pop.name, pop.cpu, pop.memory) for pop in topology.pops),
            tuple(
                PopLinkView(link.name, link.a, link.b, there.delay or None, there.rate, there.loss or None)
                for link in topology.links
                for there in (link.towards("a->b"),)
            ),
            tuple(HostView(host.name, host.pop) for host in topology.hosts),
        )
    )


def read_openapi() -> Response:
    return answer(document())


def end_emulation() -> Response:
    gatekeeper = here()
    if gatekeeper.shut_down is None:
        raise refused(
            403, "forbidden", "this bed belongs to a test, and ends with it; only `sonemu up` can be ended so"
        )
    gatekeeper.say("asked to exit")
    response = answer(None)
    # First the answer, then the end: a client is not to see its connection cut.
    response.call_on_close(gatekeeper.shut_down)
    return response

"""`/instantiations`: start, list, look at, stop."""

from __future__ import annotations

from flask import Blueprint, Response, request

from pytest_sonemu.gatekeeper.answers import answer
from pytest_sonemu.gatekeeper.bodies import json_object, stop_of, wish_of
from pytest_sonemu.gatekeeper.model import InstanceList, Started, Starting, stopped_text
from pytest_sonemu.gatekeeper.state import here

NOT_WAITING = frozenset({"0", "false", "no"})


def instantiation_routes(blueprint: Blueprint, path: str = "/instantiations") -> None:
    """Put the routes on a blueprint; `path` is where."""
    name = path.strip("/")
    blueprint.add_url_rule(path, f"list_{name}", list_instances, methods=["GET"])
    blueprint.add_url_rule(path, f"start_{name}", start_instance, methods=["POST"])
    blueprint.add_url_rule(path, f"stop_{name}", stop_instance, methods=["DELETE"])
    blueprint.add_url_rule(f"{path}/<instance>", f"read_{name}", read_instance, methods=["GET"])


def list_instances() -> Response:
    return answer(InstanceList(here().lifecycle.listing()))


def start_instance() -> Response:
    wish = wish_of(json_object(request))
    wait = request.args.get("wait", "1").lower() not in NOT_WAITING
    instance = here().lifecycle.start(wish, wait=wait)
    if wait:
        response = answer(Started(instance.uuid), 201)
    else:
        response = answer(Starting(instance.uuid, instance.state), 202)
    response.headers["Location"] = f"{request.path}/{instance.uuid}"
    return response


def stop_instance() -> Response:
    wanted = stop_of(json_object(request))
    stopped = here().lifecycle.stop(wanted.service_uuid, wanted.service_instance_uuid)
    return answer(stopped_text(stopped))


def read_instance(instance: str) -> Response:
    return answer(here().lifecycle.view(instance))

"""`/packages`: onboard, list, look at, forget."""

from __future__ import annotations

from flask import Blueprint, Response, request

from pytest_sonemu.gatekeeper.answers import answer
from pytest_sonemu.gatekeeper.bodies import uploaded
from pytest_sonemu.gatekeeper.catalogue import OnboardedPackage
from pytest_sonemu.gatekeeper.model import PackageList, PackageView
from pytest_sonemu.gatekeeper.problems import Answer
from pytest_sonemu.gatekeeper.state import here


def package_routes(blueprint: Blueprint, path: str = "/packages") -> None:
    """Put the routes on a blueprint; `path` is where."""
    blueprint.add_url_rule(path, view_func=list_packages, methods=["GET"])
    blueprint.add_url_rule(path, view_func=onboard_package, methods=["POST"])
    one = f"{path}/<package>"
    blueprint.add_url_rule(one, view_func=read_package, methods=["GET"])
    blueprint.add_url_rule(one, view_func=remove_package, methods=["DELETE"])


def list_packages() -> Response:
    return answer(PackageList(tuple(package.uuid for package in here().catalogue.packages)))


def onboard_package() -> Response:
    gatekeeper = here()
    with uploaded(request) as upload:
        gatekeeper.say(f"received {upload.file_name} ({request.content_length or 0} bytes)")
        try:
            package = gatekeeper.catalogue.onboard(upload.content, upload.file_name)
        except Answer as refusal:
            gatekeeper.say(f"refused {upload.file_name}: {refusal}")
            raise
    gatekeeper.say(f"onboarded {package.service} ({package.file_name}) as {package.uuid}")
    response = answer(package.answer, 201)
    response.headers["Location"] = f"{request.path.rstrip('/')}/{package.uuid}"
    return response


def read_package(package: str) -> Response:
    gatekeeper = here()
    return answer(_view(gatekeeper.catalogue.get(package), gatekeeper.lifecycle.of_package(package)))


def remove_package(package: str) -> Response:
    gatekeeper = here()
    removed = gatekeeper.lifecycle.remove_package(package)
    gatekeeper.say(f"removed {removed.service} ({removed.file_name}) {removed.uuid}")
    return answer(_view(removed, ()))


def _view(package: OnboardedPackage, instances: tuple[str, ...]) -> PackageView:
    return PackageView(
        service_uuid=package.uuid,
        file=package.file_name,
        size=package.size,
        sha1=package.sha1,
        vendor=package.vendor,
        name=package.name,
        version=package.version,
        service=package.service,
        vnfs=package.vnfs,
        saps=package.saps,
        onboarded=package.onboarded,
        findings=package.findings,
        instances=instances,
    )

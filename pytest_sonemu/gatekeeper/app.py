"""The Flask application. A factory: two gatekeepers in one process are two objects."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, request
from werkzeug.exceptions import HTTPException, InternalServerError, RequestEntityTooLarge

from pytest_sonemu.errors import SonemuError
from pytest_sonemu.gatekeeper.answers import answer
from pytest_sonemu.gatekeeper.bed_routes import bed_routes
from pytest_sonemu.gatekeeper.bodies import UploadRequest
from pytest_sonemu.gatekeeper.instantiation_routes import instantiation_routes
from pytest_sonemu.gatekeeper.package_routes import package_routes
from pytest_sonemu.gatekeeper.problems import Answer, problem, problem_of, refused, status_of, too_large
from pytest_sonemu.gatekeeper.state import EXTENSION, Gatekeeper, log

ALIAS = "/api/v2"


def make_app(gatekeeper: Gatekeeper) -> Flask:
    """The application that serves one gatekeeper."""
    app = Flask("pytest_sonemu.gatekeeper", static_folder=None)
    app.request_class = UploadRequest
    app.extensions[EXTENSION] = gatekeeper
    for prefix, name in (("", "gatekeeper"), (ALIAS, "alias")):
        blueprint = Blueprint(name, __name__, url_prefix=prefix or None)
        package_routes(blueprint)
        instantiation_routes(blueprint)
        if prefix:
            instantiation_routes(blueprint, "/requests")
        else:
            bed_routes(blueprint)
        app.register_blueprint(blueprint)
    app.before_request(refuse_other_sites)
    app.register_error_handler(Answer, _answered)
    app.register_error_handler(SonemuError, _failed)
    app.register_error_handler(HTTPException, _http_error)
    return app


def refuse_other_sites() -> None:
    """A page of another site must not use a visitor's browser to start containers here.

    Only browsers send `Origin`; requests of clients pass.
    """
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise refused(403, "forbidden", f"requests from pages of {origin} are not answered")


def _answered(error: Answer) -> Response:
    return answer(error.body, error.status)


def _failed(error: SonemuError) -> Response:
    return answer(problem_of("request failed", error), status_of(error))


def _http_error(error: HTTPException) -> Response:
    """Flask's own refusals, with their headers (`Allow`), as JSON."""
    if isinstance(error, RequestEntityTooLarge):
        return _answered(too_large())
    response = Response(status=error.code or 500)
    message = error.description or error.name
    detail = f"{request.method} {request.path}: {message}"
    if isinstance(error, InternalServerError) and error.original_exception is not None:
        cause = error.original_exception
        detail = f"{request.method} {request.path}: {type(cause).__name__}: {cause}"
        log.error("unexpected error at %s %s", request.method, request.path, exc_info=cause)
    for name, value in error.get_headers(request.environ):
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    body = answer(problem(error.name.lower(), detail, message=message))
    response.set_data(body.get_data())
    response.content_type = "application/json"
    return response

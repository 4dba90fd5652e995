"""`/openapi.json`: what is served, made from the same model that the answers are written from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Any, Literal

from pydantic import TypeAdapter

from pytest_sonemu.gatekeeper import model

ALIAS = "/api/v2"
SERVICE_NOT_FOUND = {"type": "string", "const": model.NOT_FOUND}
STOPPED = {"type": "string", "pattern": "^service instance with uuid '.*' stopped\\.$"}
NULL = {"type": "null"}
PACKAGE_BODY = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {"package": {"type": "string", "contentMediaType": "application/zip"}},
            "required": ["package"],
        }
    },
    "application/zip": {"schema": {"type": "string", "contentMediaType": "application/zip"}},
}
Body = type[Any] | dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """One method of one path, with what it answers by status; `requests` says what it reads."""

    method: str
    path: str
    summary: str
    answers: dict[int, tuple[str, Body]]
    requests: type[Any] | None = None
    content: dict[str, Any] | None = None
    query: dict[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()


_BAD = ("The request itself is wrong.", model.Problem)
_GONE = ("The test bed has ended.", model.Problem)
_NO_SERVICE = ("There is no such service, package or instance.", SERVICE_NOT_FOUND)
_PACKAGES = (f"{ALIAS}/packages",)
_INSTANCES = (f"{ALIAS}/instantiations", f"{ALIAS}/requests")

OPERATIONS = (
    Operation("get", "/", "What this is", {200: ("A welcome.", model.Welcome)}),
    Operation(
        "get",
        "/health",
        "Whether all is well",
        {200: ("It is.", model.Health), 503: ("The test bed has ended.", model.Health)},
    ),
    Operation(
        "get", "/topology", "The emulated infrastructure", {200: ("PoPs and links.", model.TopologyView)}
    ),
    Operation(
        "get", "/openapi.json", "This description", {200: ("An OpenAPI document.", {"type": "object"})}
    ),
    Operation(
        "put",
        "/emulator/exit",
        "End the emulation: the answer first, then the end",
        {200: ("It will end now.", NULL), 403: ("This bed belongs to a test.", model.Problem)},
    ),
    Operation(
        "get",
        "/packages",
        "The packages that were onboarded",
        {200: ("Their uuids, in that order.", model.PackageList)},
        aliases=_PACKAGES,
    ),
    Operation(
        "post",
        "/packages",
        "Onboard a package: as the form file `package`, or as the body itself",
        {
            201: ("It can be started.", model.Onboarded),
            413: ("It has more than 512 MiB.", model.UploadProblem),
            500: ("It cannot be deployed, or there is none.", model.UploadProblem),
        },
        content=PACKAGE_BODY,
        aliases=_PACKAGES,
    ),
    Operation(
        "get",
        "/packages/{package}",
        "One package",
        {200: ("What is in it, and what runs of it.", model.PackageView), 404: _NO_SERVICE},
        aliases=tuple(f"{path}/{{package}}" for path in _PACKAGES),
    ),
    Operation(
        "delete",
        "/packages/{package}",
        "Forget a package of which nothing runs",
        {
            200: ("What was removed.", model.PackageView),
            404: _NO_SERVICE,
            409: ("Instances of it run or start.", model.Problem),
        },
        aliases=tuple(f"{path}/{{package}}" for path in _PACKAGES),
    ),
    Operation(
        "get",
        "/instantiations",
        "What runs",
        {200: ("An inner list for each package.", model.InstanceList), 503: _GONE},
        aliases=_INSTANCES,
    ),
    Operation(
        "post",
        "/instantiations",
        "Start a service; the answer comes when it is ready",
        {
            201: ("It runs and is ready.", model.Started),
            202: ("It is being started (`?wait=0`).", model.Starting),
            400: _BAD,
            404: _NO_SERVICE,
            413: ("The request is too large.", model.Problem),
            500: ("The start failed; nothing of it is left.", model.Problem),
            503: _GONE,
        },
        requests=model.StartRequest,
        query={"wait": "0: answer at once with 202, and start behind"},
        aliases=_INSTANCES,
    ),
    Operation(
        "delete",
        "/instantiations",
        "Stop an instance; the answer comes when nothing of it is left",
        {
            200: ("It is gone.", STOPPED),
            400: _BAD,
            404: _NO_SERVICE,
            413: ("The request is too large.", model.Problem),
            500: ("The stop failed; it can be tried again.", model.Problem),
            503: _GONE,
        },
        requests=model.StopRequest,
        aliases=_INSTANCES,
    ),
    Operation(
        "get",
        "/instantiations/{instance}",
        "One instance: its state, VNFs, SAPs and links",
        {200: ("The instance.", model.InstanceView), 404: _NO_SERVICE, 503: _GONE},
        aliases=tuple(f"{path}/{{instance}}" for path in _INSTANCES),
    ),
)


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    kinds = _kinds()
    adapters: list[tuple[str, Literal["serialization"], TypeAdapter[Any]]] = [
        (kind.__name__, "serialization", TypeAdapter(kind)) for kind in kinds
    ]
    _map, schemas = TypeAdapter.json_schemas(adapters, ref_template="#/components/schemas/{model}")
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        for path in (operation.path, *operation.aliases):
            paths.setdefault(path, {})[operation.method] = _operation(operation, path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pytest-sonemu gatekeeper",
            "version": version(),
            "description": "SONATA's gatekeeper on an emulated infrastructure. Request bodies are JSON, "
            "whatever their content type says.",
        },
        "paths": paths,
        "components": {"schemas": schemas["$defs"]},
    }


def _kinds() -> list[type[Any]]:
    found: dict[type[Any], None] = {}
    for operation in OPERATIONS:
        for _text, body in operation.answers.values():
            if isinstance(body, type):
                found[body] = None
        if operation.requests is not None:
            found[operation.requests] = None
    return list(found)


def _operation(operation: Operation, path: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{operation.method}{path.replace('/', '_').replace('{', '').replace('}', '')}",
        "responses": {
            str(status): {"description": text, "content": {"application/json": {"schema": _schema(body)}}}
            for status, (text, body) in operation.answers.items()
        },
    }
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in operation.query.items()
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.requests is not None:
        content = {"application/json": {"schema": _schema(operation.requests)}}
        described["requestBody"] = {"required": True, "content": content}
    if operation.content is not None:
        described["requestBody"] = {"required": True, "content": operation.content}
    return described


def _schema(body: Body) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{body.__name__}"} if isinstance(body, type) else body


def version() -> str:
    """The installed version of pytest-sonemu; "0" where it runs from a folder."""
    try:
        return installed_version("pytest-sonemu")
    except PackageNotFoundError:
        return "0"

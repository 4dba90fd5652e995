"""HTTP for tests: every answer is compared with what `/openapi.json` says of it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests
from jsonschema import Draft202012Validator

from pytest_sonemu.gatekeeper.app import make_app
from pytest_sonemu.gatekeeper.emulation import Emulation
from pytest_sonemu.gatekeeper.openapi import document
from pytest_sonemu.gatekeeper.server import GatekeeperServer
from pytest_sonemu.gatekeeper.state import Gatekeeper


@dataclass
class Answered:
    """An answer: `body` is its JSON."""

    status: int
    body: Any
    headers: requests.structures.CaseInsensitiveDict[str]


class Served:
    """A gatekeeper on a port of its own. `left` lists what is left of instances in the emulation."""

    def __init__(
        self,
        emulation: Emulation,
        left: Callable[[], list[str]],
        shut_down: Callable[[], None] | None = None,
    ) -> None:
        self.emulation, self.left = emulation, left
        self.said: list[str] = []
        self.gatekeeper = Gatekeeper.of(emulation, shut_down=shut_down, say=self.said.append)
        self.server = GatekeeperServer(make_app(self.gatekeeper))
        self.url = self.server.url

    def close(self) -> None:
        self.server.close()
        self.gatekeeper.close()

    def ask(self, method: str, path: str, **arguments: Any) -> Answered:
        """One request. The answer must be JSON, and as described."""
        response = requests.request(method, self.url + path, timeout=60, **arguments)
        assert response.headers["Content-Type"] == "application/json", response.text
        body = response.json() if response.content else None
        if method != "HEAD":
            check_answer(method, path, response.status_code, body)
        return Answered(response.status_code, body, response.headers)

    def get(self, path: str) -> Answered:
        return self.ask("GET", path)

    def onboard(self, content: bytes, path: str = "/packages") -> str:
        """Onboard a package that must be accepted; its uuid."""
        answer = self.ask("POST", path, files={"package": ("service.son", content)})
        assert answer.status == 201, answer.body
        return str(answer.body["service_uuid"])

    def start(self, body: object, path: str = "/instantiations") -> str:
        """Start a service that must come up; its instance's uuid."""
        answer = self.ask("POST", path, json=body)
        assert answer.status == 201, answer.body
        return str(answer.body["service_instance_uuid"])

    def running(self) -> list[list[str]]:
        found: list[list[str]] = self.get("/instantiations").body["service_instantiations_list"]
        return found


def check_answer(method: str, path: str, status: int, body: object) -> None:
    """An answer on a described path must be of a described status and shape, without a key too many."""
    described = _operation(method, path)
    if described is None:
        assert status in (403, 404, 405), (method, path, status)
        assert_problem(body)
        return
    if status == 403 and "403" not in described["responses"]:
        assert_problem(body)
        return
    assert str(status) in described["responses"], f"{method} {path}: {status} is not described: {body}"
    schema = described["responses"][str(status)]["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": _strict()["components"]}).validate(body)


def assert_problem(body: object) -> None:
    """An error object that names its reason."""
    assert isinstance(body, dict), body
    for key in ("error", "message", "detail"):
        assert isinstance(body[key], str), body
        assert body[key].strip(), body


def _operation(method: str, path: str) -> dict[str, Any] | None:
    plain = path.partition("?")[0]
    for template, operations in document()["paths"].items():
        if re.fullmatch(re.sub(r"\\?\{[^}]*\}", "[^/]+", template), plain):
            found: dict[str, Any] | None = operations.get(method.lower())
            return found
    return None


def _strict() -> dict[str, Any]:
    """The document with every object closed: an answer with a key that is not described fails."""
    closed = copy.deepcopy(document())
    for schema in closed["components"]["schemas"].values():
        schema.setdefault("additionalProperties", False)
    return closed

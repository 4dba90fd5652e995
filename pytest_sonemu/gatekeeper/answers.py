"""From the model's data to HTTP responses."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import Any, cast

from flask import Response, jsonify
from pydantic import TypeAdapter


def answer(body: object, status: int = 200) -> Response:
    """A JSON response of a model object, a bare string or None."""
    plain = body
    if not (body is None or isinstance(body, (str, dict))):
        plain = _adapter(cast(Hashable, type(body))).dump_python(body, mode="json")
    response = jsonify(plain)
    response.status_code = status
    return response


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(type[Any], kind))

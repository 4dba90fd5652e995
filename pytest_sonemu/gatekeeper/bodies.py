"""Reading what clients send: JSON whatever they call it, packages as form files or as they are."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import unquote

from flask import Request
from werkzeug.datastructures import FileStorage

from pytest_sonemu.gatekeeper.model import OPTIONS, StopRequest, Wish
from pytest_sonemu.gatekeeper.problems import (
    MAX_JSON,
    NO_FILE,
    not_found,
    refused,
    too_large_text,
    upload_refused,
)

FILE_FIELDS = ("package", "file")
FORM = "application/x-www-form-urlencoded"
ZIP = b"PK"
UNNAMED = "package.son"


class UploadRequest(Request):
    """A request whose form files go to real files at once, never through memory."""

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        return tempfile.TemporaryFile()


@dataclass(frozen=True)
class Upload:
    """A package that was received: a file of ours, positioned anywhere, and what the client calls it."""

    content: IO[bytes]
    file_name: str


@contextmanager
def uploaded(request: Request) -> Iterator[Upload]:
    """The package in a request. Raises the `Answer` 500 of old where there is none."""
    if request.mimetype.startswith("multipart/"):
        found = _form_file(request)
        yield Upload(found.stream, _base_name(found.filename))
        return
    with tempfile.TemporaryFile() as content:
        shutil.copyfileobj(request.stream, content, 1024**2)
        content.seek(0)
        start = content.read(len(ZIP))
        # `curl -d` calls everything a form; what is none is a package all the same.
        if not start or (request.mimetype == FORM and start != ZIP):
            seen = "the body is empty" if not start else "the body is a form without files"
            raise upload_refused(f"{seen}; send the package as the form file 'package'", what=NO_FILE)
        yield Upload(content, UNNAMED)


def _form_file(request: Request) -> FileStorage:
    for field in FILE_FIELDS:
        found = request.files.get(field)
        if found is not None:
            if _is_empty(found.stream):
                raise upload_refused(f"the form file '{field}' is empty", what=NO_FILE)
            return found
    fields = sorted({*request.files, *request.form})
    listing = f"there are: {', '.join(fields)}" if fields else "the form is empty"
    raise upload_refused(f"the form has no file 'package'; {listing}", what=NO_FILE)


def _is_empty(stream: IO[bytes]) -> bool:
    return os.fstat(stream.fileno()).st_size == 0


def _base_name(name: str | None) -> str:
    """What a person calls the file: no folders, nothing that does not print."""
    last = unquote(name or "").replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in last if letter.isprintable())[:200] or UNNAMED


def json_object(request: Request) -> dict[str, Any]:
    """The JSON object in a request, whatever its content type. Raises the `Answer` 400."""
    if (request.content_length or 0) > MAX_JSON:
        raise refused(413, "request too large", too_large_text(MAX_JSON))
    data = request.get_data(cache=False, parse_form_data=False)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        text = f"Failed to decode JSON object: {error}"
        detail = f"{text}; send a JSON object, {{}} if there is nothing to say"
        raise refused(400, "bad request", detail, message=text) from error
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a string", type(None): "null", bool: "true or false"}.get(
            type(value), "a number"
        )
        raise refused(400, "bad request", f"the body is {kind}, where a JSON object is expected")
    return value


def wish_of(body: Mapping[str, Any]) -> Wish:
    """A start request. Raises the `Answer` 404 for a name or uuid that can be none."""
    known = ("service_uuid", "service_name", *OPTIONS)
    return Wish(
        service_uuid=_identifier(body, "service_uuid"),
        service_name=_identifier(body, "service_name"),
        options={name: body[name] for name in OPTIONS if body.get(name) is not None},
        ignored=tuple(key for key in body if key not in known),
    )


def stop_of(body: Mapping[str, Any]) -> StopRequest:
    """A stop request. Raises the `Answer` 404 for a uuid that can be none."""
    return StopRequest(_identifier(body, "service_uuid"), _identifier(body, "service_instance_uuid"))


def _identifier(body: Mapping[str, Any], key: str) -> str | None:
    value = body.get(key)
    if value is None or isinstance(value, str):
        return value
    raise not_found()

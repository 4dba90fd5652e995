"""How waitress receives requests here: limits by path, refusals as JSON, too much drained and not kept."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Protocol

from waitress.buffers import OverflowableBuffer  # type: ignore[import-untyped]
from waitress.channel import HTTPChannel  # type: ignore[import-untyped]
from waitress.parser import HTTPRequestParser  # type: ignore[import-untyped]
from waitress.receiver import FixedStreamReceiver  # type: ignore[import-untyped]
from waitress.task import ErrorTask  # type: ignore[import-untyped]
from waitress.utilities import RequestEntityTooLarge  # type: ignore[import-untyped]

from pytest_sonemu.gatekeeper.model import Problem, UploadProblem
from pytest_sonemu.gatekeeper.problems import MAX_JSON, MAX_UPLOAD, UPLOAD_FAILED, problem, too_large_text

# Multipart borders around a package of just the size that is allowed.
FORM_ROOM = 64 * 1024
# Read on and thrown away so that a client that is still sending gets to read the answer.
DRAINED = 4 * 1024**3


class Closing(Protocol):
    """The server of a connection: whether it is about to end, and how its loop is woken."""

    closing: bool

    def pull_trigger(self) -> None: ...


class Nowhere(OverflowableBuffer):  # type: ignore[misc]
    """A buffer that keeps nothing."""

    def __init__(self) -> None:
        super().__init__(1)

    def append(self, data: bytes) -> None:
        return


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """Refuses bodies over the limit of their path once the client has sent them, or before if it asks."""

    refused = False
    path = ""
    completed: bool
    expect_continue: bool
    error: Any
    body_rcv: Any

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        if self.content_length > self.limit:
            self._refuse()

    def received(self, data: bytes) -> int:
        consumed: int = super().received(data)
        if not self.completed and not self.refused and self.body_bytes_received > self.limit:
            self._refuse()
        if self.refused and (self.completed or self.body_bytes_received > DRAINED):
            self.error = self.error or RequestEntityTooLarge(too_large_text(self.limit))
            self.completed = True
        return consumed

    @property
    def limit(self) -> int:
        """The most bytes that a body may have."""
        return MAX_UPLOAD + FORM_ROOM if is_upload(self.path) else MAX_JSON

    def _refuse(self) -> None:
        self.refused = True
        if self.expect_continue or self.content_length > DRAINED:
            # It asks first, or there is no end to it: say no at once.
            self.expect_continue = False
            self.error = RequestEntityTooLarge(too_large_text(self.limit))
            self.completed = True
        elif self.chunked:
            self.body_rcv.buf.close()
            self.body_rcv.buf = Nowhere()
        else:
            self.body_rcv = FixedStreamReceiver(self.content_length, Nowhere())


class Refusal(ErrorTask):  # type: ignore[misc]
    """Waitress's own refusals, as JSON."""

    def execute(self) -> None:
        error = self.request.error
        path = getattr(self.request, "path", "")
        body = refusal(error.code, error.reason, str(error.body), path)
        data = json.dumps(asdict(body)).encode() + b"\n"
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(data)
        self.write(data)


def refusal(code: int, reason: str, text: str, path: str) -> Problem | UploadProblem:
    """The body for a request that never reached the application."""
    if code == 413 and is_upload(path):
        return UploadProblem(UPLOAD_FAILED, text, text)
    return problem(reason.lower(), text)


def is_upload(path: str) -> bool:
    return path.endswith("/packages")


class Connection(HTTPChannel):  # type: ignore[misc]
    """A client's connection; when the server closes it ends with the answer that is under way."""

    parser_class = Parser
    error_task_class = Refusal
    server: Closing

    def service(self) -> None:
        super().service()
        if self.server.closing:
            self.end_when_answered()

    def end_when_answered(self) -> None:
        """End after what was asked is answered; at once if nothing was."""
        with self.requests_lock:
            if not self.requests:
                self.close_when_flushed = True
        self.server.pull_trigger()


def settings(threads: int) -> dict[str, Any]:
    """Waitress's settings: our parser has the limits, so its own must never be met."""
    return {
        "threads": threads,
        "ident": None,
        "max_request_body_size": 2**62,
        "clear_untrusted_proxy_headers": True,
        "connection_limit": 500,
    }

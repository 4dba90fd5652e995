"""Refusals and failures as HTTP answers: JSON, with the reason, and with the old literal strings."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_sonemu.descriptors.findings import Finding
from pytest_sonemu.errors import BedGoneError, DescriptorError, SettingsError, SonemuError
from pytest_sonemu.gatekeeper.model import NOT_FOUND, FindingView, Problem, UploadProblem

MAX_UPLOAD = 512 * 1024**2
MAX_JSON = 1024**2

UPLOAD_FAILED = "upload failed"
NO_FILE = "upload failed. file not found."


class Answer(Exception):
    """Ends a request with this status and body."""

    def __init__(self, status: int, body: Problem | UploadProblem | str) -> None:
        super().__init__(body if isinstance(body, str) else body.detail)
        self.status, self.body = status, body

    @property
    def reason(self) -> str:
        """The whole reason, for a person."""
        return self.body if isinstance(self.body, str) else self.body.detail


def not_found() -> Answer:
    """The literal string that clients compare with."""
    return Answer(404, NOT_FOUND)


def refused(status: int, error: str, detail: str, *, message: str = "", kind: str | None = None) -> Answer:
    """An error object; `message` is the first line of `detail` where none is given."""
    return Answer(status, problem(error, detail, message=message, kind=kind))


def problem(error: str, detail: str, *, message: str = "", kind: str | None = None) -> Problem:
    return Problem(error, message or detail.partition("\n")[0], detail, kind)


def problem_of(what: str, error: SonemuError, *, hide: str = "", show: str = "") -> Problem:
    """An error of the library, with the uploaded file's own name instead of where it is kept."""
    text = str(error)
    return problem(what, text.replace(hide, show) if hide else text, kind=type(error).__name__)


def status_of(error: SonemuError) -> int:
    """400 for what the request itself says wrong, 503 without a bed, else 500."""
    if isinstance(error, SettingsError):
        return 400
    return 503 if isinstance(error, BedGoneError) else 500


def upload_refused(
    error: SonemuError | str, *, status: int = 500, what: str = UPLOAD_FAILED, hide: str = "", show: str = ""
) -> Answer:
    """An upload that is not onboarded, with the reason and every finding."""
    text = str(error).replace(hide, show) if hide else str(error)
    findings = error.findings if isinstance(error, DescriptorError) else ()
    seen = finding_views(findings, hide=hide, show=show)
    return Answer(status, UploadProblem(what, text.partition("\n")[0], text, findings=seen))


def too_large() -> Answer:
    return upload_refused(too_large_text(MAX_UPLOAD), status=413)


def too_large_text(limit: int) -> str:
    return f"the request has more than {limit} bytes ({limit // 1024**2} MiB), which is the limit"


def finding_views(findings: Iterable[Finding], *, hide: str, show: str) -> tuple[FindingView, ...]:
    def clean(text: str) -> str:
        return text.replace(hide, show) if hide else text

    return tuple(
        FindingView(found.rule, found.level, clean(found.message), clean(str(found.place)), clean(found.hint))
        for found in findings
    )

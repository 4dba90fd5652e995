"""The page on the HTTP API shows what is really answered."""

from __future__ import annotations

from docs.http_api_transcript import PAGE, page_made_anew


def test_the_transcripts_are_what_happens() -> None:
    """After a change that is meant: `python docs/http_api_transcript.py`."""
    page = PAGE.read_text()
    assert page_made_anew(page) == page

"""Verdicts on packages as text like a compiler's, as JSON, as SARIF, and as GitHub's annotations. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pytest_sonemu.descriptors.findings import Finding, Level
from pytest_sonemu.descriptors.read import Verdict
from pytest_sonemu.descriptors.rules import RULES

LEVELS: tuple[Level, ...] = ("error", "warning", "info")
_GITHUB: Mapping[Level, str] = {"error": "error", "warning": "warning", "info": "notice"}
_SARIF: Mapping[Level, str] = {"error": "error", "warning": "warning", "info": "note"}
_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def as_text(verdicts: Sequence[Verdict]) -> str:
    """One line per finding, `file:line:col: level[rule]: message (hint)`, and one per package."""
    lines: list[str] = []
    for verdict in verdicts:
        lines += [str(finding) for finding in verdict.findings]
        lines.append(summary(verdict))
    return "\n".join(lines)


def summary(verdict: Verdict) -> str:
    """What became of one package, in one line."""
    if not verdict.usable:
        outcome = "not a package that can be read"
    elif verdict.package is None:
        outcome = "cannot be deployed"
    else:
        outcome = "can be deployed"
    return f"{verdict.path}: {outcome}: {counted(verdict.findings)}"


def counted(findings: Iterable[Finding]) -> str:
    """`"1 error, 2 warnings"`."""
    found = list(findings)
    counts = {level: sum(finding.level == level for finding in found) for level in LEVELS}
    words = {"error": "error", "warning": "warning", "info": "remark"}
    parts = [f"{n} {words[level]}{'s' if n != 1 else ''}" for level, n in counts.items() if n]
    return ", ".join(parts) or "no findings"


def as_json(verdicts: Sequence[Verdict], profile: str) -> str:
    """One object with `packages`, each with its `findings`."""
    packages = [
        {
            "path": str(verdict.path),
            "usable": verdict.usable,
            "deployable": verdict.package is not None,
            "service": None
            if verdict.package is None
            else {
                "vendor": verdict.package.service.vendor,
                "name": verdict.package.service.name,
                "version": verdict.package.service.version,
            },
            "digest": verdict.package.digest if verdict.package is not None else None,
            "findings": [_plain(finding) for finding in verdict.findings],
        }
        for verdict in verdicts
    ]
    every = [finding for verdict in verdicts for finding in verdict.findings]
    counts = {level: sum(finding.level == level for finding in every) for level in LEVELS}
    return json.dumps({"profile": profile, "summary": counts, "packages": packages}, indent=2)


def as_sarif(verdicts: Sequence[Verdict], version: str, base: Path) -> str:
    """SARIF 2.1.0, for code scanning. Files below `base` are named relative to it."""
    every = [finding for verdict in verdicts for finding in verdict.findings]
    rules = sorted({finding.rule for finding in every})
    driver = {
        "name": "sonemu",
        "version": version,
        "informationUri": "https://pypi.org/project/pytest-sonemu/",
        "rules": [_sarif_rule(name) for name in rules],
    }
    run: dict[str, Any] = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(finding, rules.index(finding.rule), base) for finding in every],
        "invocations": [{"executionSuccessful": all(verdict.usable for verdict in verdicts)}],
    }
    return json.dumps({"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def as_github(verdicts: Sequence[Verdict], base: Path) -> str:
    """Workflow commands, which GitHub shows beside the lines of a change, and one line per package."""
    lines: list[str] = []
    for verdict in verdicts:
        lines += list(_annotations(verdict, base))
        lines.append(_escaped(summary(verdict)))
    return "\n".join(lines)


def _annotations(verdict: Verdict, base: Path) -> Iterator[str]:
    archive = str(verdict.path)
    for finding in verdict.findings:
        place = finding.place
        text = f"{finding.message} ({finding.hint})" if finding.hint else finding.message
        properties = {"file": _relative(place.file, base), "title": finding.rule}
        if place.file.startswith(f"{archive}/") and not verdict.path.is_dir():
            # GitHub knows the archive, not what is in it.
            inside = f"{place.file[len(archive) + 1 :]}:{place.line}:{place.column}"
            properties["file"], text = _relative(archive, base), f"{inside}: {text}"
        elif place.line:
            properties |= {"line": str(place.line), "col": str(max(place.column, 1))}
        written = ",".join(f"{key}={_escaped(value, inside=True)}" for key, value in properties.items())
        yield f"::{_GITHUB[finding.level]} {written}::{_escaped(text)}"


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "level": finding.level,
        "message": finding.message,
        "hint": finding.hint or None,
        "file": finding.place.file,
        "line": finding.place.line or None,
        "column": finding.place.column or None,
        "blocks": finding.blocks,
    }


def _sarif_rule(name: str) -> dict[str, Any]:
    rule = RULES.get(name)
    if rule is None:
        return {"id": name}
    level: Level = "error" if rule.stops == "always" or rule.lenient == "off" else rule.lenient
    example = rule.example
    text = f"{rule.summary}\n\nFault:\n{example.fault}\n\nMend:\n{example.mend}"
    return {
        "id": name,
        "shortDescription": {"text": rule.summary},
        "help": {"text": text},
        "defaultConfiguration": {"level": _SARIF[level]},
        "properties": {"tags": [rule.area]},
    }


def _sarif_result(finding: Finding, index: int, base: Path) -> dict[str, Any]:
    text = f"{finding.message} ({finding.hint})" if finding.hint else finding.message
    file = _relative(finding.place.file, base)
    location: dict[str, Any] = {"artifactLocation": {"uri": quote(file, safe="/:")}}
    if finding.place.line:
        location["region"] = {
            "startLine": finding.place.line,
            "startColumn": max(finding.place.column, 1),
        }
    key = f"{finding.rule}\n{file}\n{finding.message}".encode("utf-8", "replace")
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": _SARIF[finding.level],
        "message": {"text": text},
        "locations": [{"physicalLocation": location}],
        "partialFingerprints": {"sonemu/v1": sha256(key).hexdigest()[:32]},
    }


def _relative(file: str, base: Path) -> str:
    path = Path(file)
    try:
        return (base / path).resolve().relative_to(base.resolve()).as_posix()
    except ValueError:
        return path.as_posix()


def _escaped(text: str, *, inside: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if inside else text

"""The tables of rules: each example does what it says, and the docs say what the tables say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_sonemu.descriptors.findings import Finding, Findings
from pytest_sonemu.descriptors.read import Verdict, check_package
from pytest_sonemu.descriptors.rule_docs import BASE, changed, render
from pytest_sonemu.descriptors.rule_types import Rule
from pytest_sonemu.descriptors.rules import LENIENT, RULES, STRICT, Levels, levels
from pytest_sonemu.errors import SettingsError
from pytest_sonemu.topology.read import topology_of
from tests.pure.package_writing import MANIFEST, NSD, write_son

HERE = Path(__file__).parents[2]
VNFD = "function_descriptors/fw.yml"
WRITTEN = [rule for rule in RULES.values() if rule.example.file != "archive"]
OFF = [rule.name for rule in RULES.values() if rule.lenient == "off"]


def judge(folder: Path, file: str, fragment: str, using: Levels) -> tuple[Finding, ...]:
    """What is found in the base package with `fragment` in `file`."""
    if file == "topology":
        findings = Findings(using)
        topology_of(changed("topology", fragment).encode(), "topology.yml", findings)
        return findings.in_order()
    texts = {key: changed(key, fragment if key == file else "") for key in BASE}
    if file == "project.yml":
        for name, text in {
            "project.yml": texts["project.yml"],
            "sources/nsd/nsd.yml": texts["nsd"],
            "sources/vnf/fw/fw.yml": texts["vnfd"],
        }.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return check_package(folder, levels=using).findings
    content = {MANIFEST: texts["manifest"], NSD: texts["nsd"], VNFD: texts["vnfd"]}
    if file == "sonemu.yml":
        (folder / "sonemu.yml").write_text(fragment)
    return check(folder, {name: text.encode() for name, text in content.items()}, using).findings


def check(folder: Path, content: dict[str, bytes], using: Levels) -> Verdict:
    return check_package(write_son(folder / "web.son", content), levels=using)


def with_all_said(rule: Rule, using: Levels) -> Levels:
    return Levels(using.profile, {rule.name: "info"}) if getattr(rule, using.profile) == "off" else using


@pytest.mark.parametrize("using", [LENIENT, STRICT], ids=["lenient", "strict"])
@pytest.mark.parametrize("rule", WRITTEN, ids=lambda rule: rule.name)
def test_the_fault_of_an_example_is_found_and_its_mend_is_none(
    rule: Rule, using: Levels, tmp_path: Path
) -> None:
    using = with_all_said(rule, using)
    (tmp_path / "fault").mkdir()
    (tmp_path / "mend").mkdir()
    found = [
        finding
        for finding in judge(tmp_path / "fault", rule.example.file, rule.example.fault, using)
        if finding.rule == rule.name
    ]
    assert found, "the fault is not found"
    assert {finding.level for finding in found} <= {"error", with_all_said(rule, using).of(
        rule.name, "warning", blocks=False)}  # fmt: skip
    if rule.stops == "always":
        assert all(finding.blocks for finding in found)
    if rule.stops == "never":
        assert not any(finding.blocks for finding in found)
    mended = judge(tmp_path / "mend", rule.example.file, rule.example.mend, using)
    assert [str(finding) for finding in mended if finding.rule == rule.name or finding.blocks] == []


def test_the_base_of_the_examples_has_no_findings_in_either_profile(tmp_path: Path) -> None:
    for using in (LENIENT, STRICT):
        assert judge(tmp_path, "nsd", "", using) == ()


def test_every_rule_that_is_said_is_in_the_tables_and_every_rule_there_is_said() -> None:
    said: set[str] = set()
    for folder in ("descriptors", "topology"):
        for path in sorted((HERE / "pytest_sonemu" / folder).glob("*.py")):
            if not path.name.startswith("rule"):
                said |= set(re.findall(r'"((?:evt|sonemu|topology)_[a-z_0-9]+)"', path.read_text()))
    assert said - set(RULES) == set()
    assert set(RULES) - said == set()


def test_a_rule_that_is_off_says_nothing_until_it_is_set(tmp_path: Path) -> None:
    assert OFF == ["evt_nsd_top_fwgraph_unavailable", "sonemu_limit_not_set"]
    rule = RULES["evt_nsd_top_fwgraph_unavailable"]
    assert judge(tmp_path, "nsd", "forwarding_graphs: []\n", LENIENT) == ()
    using = levels({rule.name: "warning"})
    (finding,) = [f for f in judge(tmp_path, "nsd", "forwarding_graphs: []\n", using) if f.rule == rule.name]
    assert finding.level == "warning"


def test_a_level_that_is_set_counts_for_the_report_but_deploys_nothing(tmp_path: Path) -> None:
    fragment = RULES["evt_nsd_itg_undefined_cpoint"].example.fault
    content = {
        MANIFEST: BASE["manifest"].encode(),
        NSD: changed("nsd", fragment).encode(),
        VNFD: BASE["vnfd"].encode(),
    }
    for setting, level in (("warning", "warning"), ("off", "info"), ("error", "error")):
        verdict = check(tmp_path, content, levels({"evt_nsd_itg_undefined_cpoint": setting}))
        (finding,) = [found for found in verdict.findings if found.rule == "evt_nsd_itg_undefined_cpoint"]
        assert (finding.level, finding.blocks, verdict.package) == (level, True, None)


def test_settings_that_are_none_are_named_all_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        levels({"evt_pd_itg_invalid_md": "error", "sonemu_sap_link": "warn"}, profile="stric", where="t")
    assert str(caught.value).splitlines() == [
        "t: no profile 'stric' (did you mean 'strict'?); there are: lenient, strict",
        (
            "t: no rule 'evt_pd_itg_invalid_md' (did you mean 'evt_pd_itg_invalid_md5'?);"
            " docs/rules.md lists them"
        ),
        (
            "t: 'warn' is no level for sonemu_sap_link (did you mean 'warning'?);"
            " there are: error, warning, info, off"
        ),
    ]


def test_the_docs_are_those_of_the_tables() -> None:
    stored = HERE / "docs" / "rules.md"
    assert stored.read_text() == render(), "run: python -m pytest_sonemu.descriptors.rule_docs"

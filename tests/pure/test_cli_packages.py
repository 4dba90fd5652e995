"""`sonemu validate`, `pack` and `plan`: their outputs, and the exit codes a pipeline goes by."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pytest_sonemu.cli import main
from pytest_sonemu.descriptors.read import read_package
from pytest_sonemu.descriptors.rules import RULES
from tests.pure.package_writing import NSD, members, nsd, vnfd, write_project, write_son

LINKS = {"l1": ["input", "fw:input"], "l2": ["fw:output", "output"]}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def good(name: str = "good.son") -> Path:
    return write_son(Path(name), members(nsd({"fw": "fw"}, LINKS), vnfd("fw")))


def warned(name: str = "warned.son") -> Path:
    return write_son(Path(name), members(nsd({"fw": "fw"}, LINKS, name="UPPER"), vnfd("fw")))


def broken(name: str = "broken.son") -> Path:
    links = {**LINKS, "l3": ["fw:inptu", "input"]}
    return write_son(Path(name), members(nsd({"fw": "fw"}, links), vnfd("fw")))


def project(root: str = "p", **more: Any) -> Path:
    service = nsd({"fw": "fw"}, LINKS, **more)
    extra = {"sources/vnf/fw/Dockerfile": b"FROM x\n", "sources/vnf/fw/start.sh": b"#!/bin/sh\n"}
    return write_project(Path(root), service, {"fw": vnfd("fw")}, extra)


def test_text_is_a_line_a_finding_as_of_a_compiler() -> None:
    result = run("validate", broken(), good())
    lines = result.output.splitlines()
    assert result.exit_code == 1
    assert lines[0] == (
        "broken.son/service_descriptors/nsd.yml:31:5: error[evt_nsd_itg_undefined_cpoint]:"
        " undefined connection point 'fw:inptu' (did you mean 'input'?)"
    )
    assert lines[-2].startswith("broken.son: cannot be deployed: 1 error")
    assert lines[-1] == "good.son: can be deployed: no findings"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("good.son",), 0),
        (("warned.son",), 0),
        (("warned.son", "--fail-on", "warning"), 1),
        (("warned.son", "--profile", "strict"), 1),
        (("warned.son", "--rule", "evt_nsd_stx_invalid=error"), 1),
        (("warned.son", "--profile", "strict", "--rule", "evt_nsd_stx_invalid=off"), 0),
        (("broken.son",), 1),
        (("broken.son", "--fail-on", "never"), 0),
        (("broken.son", "--rule", "evt_nsd_itg_undefined_cpoint=warning"), 0),
        (("none.son",), 2),
        (("good.son", "none.son"), 2),
        (("broken.son", "text.son"), 2),
        (("good.son", "--rule", "no_such_rule=error"), 2),
        (("good.son", "--rule", "evt_nsd_stx_invalid"), 2),
        (("good.son", "--profile", "lax"), 2),
        ((), 2),
    ],
)
def test_exit_codes(arguments: tuple[str, ...], code: int) -> None:
    good(), warned(), broken()
    Path("text.son").write_text("hello")
    assert run("validate", *arguments).exit_code == code


def test_levels_are_read_from_pyproject_and_those_of_the_command_line_win() -> None:
    warned()
    Path("pyproject.toml").write_text('[tool.sonemu.rules]\nevt_nsd_stx_invalid = "error"\n')
    assert run("validate", "warned.son").exit_code == 1
    assert run("validate", "warned.son", "--rule", "evt_nsd_stx_invalid=info").exit_code == 0
    Path("pyproject.toml").write_text('[tool.sonemu]\nprofile = "strict"\n')
    assert run("validate", "warned.son").exit_code == 1
    assert run("validate", "warned.son", "--profile", "lenient").exit_code == 0
    Path("pyproject.toml").write_text('[tool.sonemu.rules]\nevt_nsd_stx_invlid = "error"\n')
    refused = run("validate", "warned.son")
    assert refused.exit_code == 2
    assert "did you mean 'evt_nsd_stx_invalid'?" in refused.output
    assert "pyproject.toml" in refused.output
    Path("pyproject.toml").write_text("[tool.sonemu\n")
    assert run("validate", "warned.son").exit_code == 2


def test_json_has_every_finding_with_its_place() -> None:
    result = run("validate", "--format", "json", broken(), good())
    data = json.loads(result.output)
    assert data["summary"]["error"] == 1
    assert [(one["usable"], one["deployable"]) for one in data["packages"]] == [(True, False), (True, True)]
    assert data["packages"][1]["service"] == {"vendor": "acme", "name": "service", "version": "0.1"}
    (error,) = [one for one in data["packages"][0]["findings"] if one["level"] == "error"]
    assert error == {
        "rule": "evt_nsd_itg_undefined_cpoint",
        "level": "error",
        "message": "undefined connection point 'fw:inptu'",
        "hint": "did you mean 'input'?",
        "file": f"broken.son/{NSD}",
        "line": 31,
        "column": 5,
        "blocks": True,
    }


def test_sarif_names_rules_lines_and_files_as_code_scanning_wants_them() -> None:
    project(name="UPPER")
    result = run("validate", "--format", "sarif", "-o", "out.sarif", "p", broken())
    assert (result.exit_code, result.output) == (1, "")
    data = json.loads(Path("out.sarif").read_text())
    (one,) = data["runs"]
    assert data["version"] == "2.1.0"
    rules = one["tool"]["driver"]["rules"]
    assert {rule["id"] for rule in rules} <= set(RULES)
    for found in one["results"]:
        assert rules[found["ruleIndex"]]["id"] == found["ruleId"]
        assert found["level"] in ("error", "warning", "note")
        place = found["locations"][0]["physicalLocation"]
        assert not place["artifactLocation"]["uri"].startswith("/")
        assert place["region"]["startLine"] >= 1
    uris = {found["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for found in one["results"]}
    assert uris == {"p/sources/nsd/nsd.yml", f"broken.son/{NSD}"}
    assert len({found["partialFingerprints"]["sonemu/v1"] for found in one["results"]}) == len(one["results"])


def test_github_annotates_lines_of_a_project_and_the_archive_as_a_whole() -> None:
    project(name="UPPER: 100%")
    lines = run("validate", "--format", "github", "p", broken()).output.splitlines()
    command, _, text = lines[0].removeprefix("::").partition("::")
    assert command == "warning file=p/sources/nsd/nsd.yml,title=evt_nsd_stx_invalid,line=3,col=7"
    assert text.startswith("'name' of the NSD is 'UPPER: 100%25' (allowed: lower-case letters")
    (error,) = [line for line in lines if line.startswith("::error")]
    assert error.startswith(
        "::error file=broken.son,title=evt_nsd_itg_undefined_cpoint::"
        "service_descriptors/nsd.yml:31:5: undefined"
    )


def test_options_beside_a_package_are_judged_with_it() -> None:
    good()
    Path("sonemu.yml").write_text("vnfs:\n  fw: {imge: x}\nroutes: path\n")
    result = run("validate", "good.son")
    assert result.exit_code == 1
    assert (
        "sonemu.yml:2:8: error[sonemu_options]: vnfs.fw.imge: unknown option (did you mean" in result.output
    )


def test_cores_that_this_machine_does_not_have_are_said() -> None:
    cores = f"0,{os.cpu_count()}"
    limits = {"cpu": {"vcpus": 1, "cores": cores}, "memory": {"size": 256}}
    function = vnfd("fw", unit={"resource_requirements": limits})
    write_son(Path("x.son"), members(nsd({"fw": "fw"}, LINKS), function))
    result = run("validate", "x.son")
    assert result.exit_code == 0
    assert f"asks for core {os.cpu_count()}, and this machine has 0 to" in result.output


def test_names_that_no_terminal_can_show_are_shown_all_the_same(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.son"
    Path(os.fsdecode(path)).write_bytes(b"")
    result = CliRunner().invoke(main, ["validate", os.fsdecode(path)])
    assert result.exit_code == 2
    assert "the file is empty" in result.output


def test_pack_writes_the_same_bytes_wherever_and_whenever() -> None:
    project("p")
    first = run("pack", "p")
    assert first.exit_code == 0, first.output
    assert first.output.startswith("wrote acme.p.0.1.son (")
    data = Path("acme.p.0.1.son").read_bytes()
    project("elsewhere/q")
    for path in Path("elsewhere").rglob("*"):
        os.utime(path, (0, 0))
    (Path("elsewhere/q") / "sonemu.yml").write_text("routes: none\n")
    assert run("pack", "elsewhere/q", "-o", "new/out.son").exit_code == 0
    assert Path("new/out.son").read_bytes() == data
    assert read_package("new/out.son").service.name == "service"
    sent = subprocess.run(
        [sys.executable, "-c", "from pytest_sonemu.cli import main; main()", "pack", "p", "-o", "-"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        check=True,
    )
    assert sent.stdout == data


def test_pack_shows_findings_and_packs_nothing_that_cannot_be_deployed() -> None:
    project("p", name="UPPER")
    result = run("pack", "p")
    assert result.exit_code == 0
    assert "warning[evt_nsd_stx_invalid]" in result.stderr
    write_project(Path("q"), nsd({"fw": "fw"}, {"l": ["fw:none", "input"]}), {"fw": vnfd("fw")}, {})
    result = run("pack", "q")
    assert result.exit_code == 1
    assert "undefined connection point 'fw:none'" in result.output
    assert not list(Path().glob("*q*.son"))


def test_plan_needs_no_docker_and_tells_where_images_come_from() -> None:
    text = run("plan", good())
    assert text.exit_code == 0, text.output
    assert "fw (vnf) in pop1" in text.output
    assert "image web:dev (to be pulled)" in text.output
    data = json.loads(run("plan", "good.son", "--format", "json", "--set", "fw.image=sonemu/vnf-base").output)
    assert data["endpoints"][0]["container"]["image"]["reference"] == "sonemu/vnf-base"
    assert data["endpoints"][0]["container"]["image"]["reason"] == "image set for 'fw'"
    drawn = run("plan", "good.son", "--format", "mermaid").output.splitlines()
    assert drawn[0] == "flowchart LR"
    assert any('"l1"' in line for line in drawn)


def test_plan_takes_the_topology_that_is_named_else_that_beside_the_package() -> None:
    good()
    Path("two.yml").write_text("pops: [north, south]\nlinks: [[north, south]]\n")
    assert "fw (vnf) in north" in run("plan", "good.son", "--topology", "two.yml").output
    Path("sonemu.yml").write_text("topology: two.yml\nvnfs: {fw: {pop: south}}\n")
    assert "fw (vnf) in south" in run("plan", "good.son").output
    refused = run("plan", broken())
    assert refused.exit_code == 1
    assert "undefined connection point" in refused.output


def test_plan_shows_what_links_are_asked_for_and_by_whom_wrongly() -> None:
    good()
    own = Path("sonemu.yml")
    own.write_text("links:\n  l1: {delay: 5ms}\n")
    settings = ("--set", "links.l2.rate=1Mbit", "--set", "links.l2.burst=10K")
    shown = run("plan", "good.son", *settings).output
    assert "impaired: delay 0.005," in shown
    assert "impaired: rate 1000000, burst 10240," in shown
    own.write_text("links:\n  l1:\n    dely: 5ms\n")
    refused = run("plan", "good.son")
    assert refused.exit_code == 1
    assert "sonemu.yml:1:1: links: l1: dely: no such impairment (did you mean 'delay'?)" in refused.output
    own.write_text("links:\n  l11: {delay: 5ms}\n")
    assert "no virtual link 'l11' (did you mean 'l1'?)" in run("plan", "good.son").output


def test_images_that_cannot_be_had_are_named_in_a_plan() -> None:
    function = vnfd("fw", unit={"vm_image": "fw.qcow2", "vm_image_format": "qcow2"})
    write_son(Path("vm.son"), members(nsd({"fw": "fw"}, LINKS), function))
    assert "fw.qcow2 (cannot be had: it is a virtual machine's image" in run("plan", "vm.son").output

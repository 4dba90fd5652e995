"""`docs/rules.md`, made from the tables of rules; and the package that their examples change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pytest_sonemu.descriptors.rule_types import Area, ExampleFile, Rule, Setting
from pytest_sonemu.descriptors.rules import RULES

# Each example's top-level keys replace those of the same file here.
BASE: Mapping[ExampleFile, str] = {
    "manifest": """\
descriptor_version: "1.0"
vendor: acme
name: web
version: "0.1"
entry_service_template: /service_descriptors/nsd.yml
package_content:
  - name: /service_descriptors/nsd.yml
    content-type: application/sonata.service_descriptor
  - name: /function_descriptors/fw.yml
    content-type: application/sonata.function_descriptor
""",
    "nsd": """\
descriptor_version: "1.0"
vendor: acme
name: web
version: "0.1"
network_functions:
  - {vnf_id: fw, vnf_vendor: acme, vnf_name: fw, vnf_version: "0.1"}
connection_points:
  - {id: input, interface: ipv4, type: external}
  - {id: output, interface: ipv4, type: external}
virtual_links:
  - id: link-in
    connectivity_type: E-Line
    connection_points_reference: [input, "fw:input"]
  - id: link-out
    connectivity_type: E-Line
    connection_points_reference: ["fw:output", output]
""",
    "vnfd": """\
descriptor_version: "1.0"
vendor: acme
name: fw
version: "0.1"
virtual_deployment_units:
  - id: vdu01
    vm_image: acme/fw:1
    vm_image_format: docker
    resource_requirements: {cpu: {vcpus: 1}, memory: {size: 256, size_unit: MB}}
connection_points:
  - {id: input, interface: ipv4, type: external}
  - {id: output, interface: ipv4, type: external}
""",
    "sonemu.yml": "",
    "project.yml": 'version: "0.5"\npackage: {name: web, vendor: acme, version: "0.1"}\n',
    "topology": "pops: [pop1, pop2]\n",
}
_TITLES: Mapping[Area, str] = {
    "package": "Packages",
    "service": "Network services (NSD)",
    "function": "VNFs (VNFD)",
    "general": "Both kinds of descriptors",
    "emulator": "What an emulator needs",
    "topology": "Topologies",
}
_FILES: Mapping[ExampleFile, str] = {
    "manifest": "META-INF/MANIFEST.MF",
    "nsd": "service_descriptors/nsd.yml",
    "vnfd": "function_descriptors/fw.yml",
    "napd": "TOSCA-Metadata/NAPD.yaml",
    "sonemu.yml": "sonemu.yml",
    "project.yml": "project.yml",
    "topology": "topology.yml",
    "archive": "in the archive",
}
_TOP_KEY = re.compile(r"^([A-Za-z_][\w-]*):", re.MULTILINE)
_HEAD = """\
# Rules

<!-- Made by `python -m pytest_sonemu.descriptors.rule_docs`; a test fails when it is out of date. -->

`sonemu validate` judges packages by these rules, and so does every start of a package. Each finding
names its rule, file, line and column, what is wrong and what to do:

    web.son/service_descriptors/nsd.yml:13:34: error[evt_nsd_itg_undefined_cpoint]: undefined connection
    point 'fw:inptu' (did you mean 'input'?)

**Levels.** What cannot be deployed is an error. Of what can, the profile decides: `lenient` (the
default) warns, `strict` takes the published schemas as law. "error, else warning" means: an error
where it keeps the service from being deployed, a warning where it does not.

A rule's level can be set, to `error`, `warning`, `info` or `off`, in `pyproject.toml`

    [tool.sonemu.rules]
    evt_pd_itg_invalid_md5 = "error"

or on the command line (`sonemu validate --rule evt_pd_itg_invalid_md5=error web.son`). That changes
the report and its exit code, not what can be deployed.

**Examples.** Each shows a fault and its mend. The keys that it shows stand in place of those of this
package, a firewall between two SAPs:

"""


def render() -> str:
    """The text of `docs/rules.md`."""
    return "\n".join(_lines()) + "\n"


def changed(file: ExampleFile, fragment: str) -> str:
    """The file of the base package with `fragment` in place of what has the same top-level keys."""
    replaced = set(_TOP_KEY.findall(fragment))
    kept = [block for key, block in _blocks(BASE.get(file, "")) if key not in replaced]
    return "".join(kept) + fragment


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """(key, its lines) of each top-level key."""
    starts = list(_TOP_KEY.finditer(text))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    for match, end in zip(starts, ends, strict=False):
        yield match[1], text[match.start() : end]


def _lines() -> Iterator[str]:
    yield _HEAD.rstrip("\n")
    for file in ("manifest", "nsd", "vnfd"):
        yield from ("", f"`{_FILES[file]}`" if file in _FILES else "", "", "```yaml")
        yield BASE[file].rstrip("\n")
        yield "```"
    yield from ("", "## All rules", "", "| rule | lenient | strict |", "|---|---|---|")
    for rule in RULES.values():
        lenient, strict = _level(rule, rule.lenient), _level(rule, rule.strict)
        yield f"| [{rule.name}](#{rule.name}) | {lenient} | {strict} |"
    for area, title in _TITLES.items():
        yield from ("", f"## {title}")
        for rule in RULES.values():
            if rule.area == area:
                yield from _rule(rule)


def _rule(rule: Rule) -> Iterator[str]:
    yield from ("", f"### {rule.name}", "")
    yield rule.summary
    yield ""
    yield f"Level: {_level(rule, rule.lenient)}; strict: {_level(rule, rule.strict)}."
    example = rule.example
    if example.file == "archive":
        yield from ("", f"Fault: {example.fault}. Mend: {example.mend}.")
        return
    for title, text in (("Fault", example.fault), ("Mend", example.mend)):
        yield from ("", f"{title}, in `{_FILES[example.file]}`:", "", "```yaml")
        yield text.rstrip("\n")
        yield "```"


def _level(rule: Rule, level: Setting) -> str:
    if rule.stops == "always" or level == "error":
        return "error"
    return f"error, else {level}" if rule.stops == "sometimes" else level


def main() -> None:
    """Writes `docs/rules.md` of this checkout."""
    from pathlib import Path

    target = Path(__file__).parents[2] / "docs" / "rules.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text(render())


if __name__ == "__main__":
    main()

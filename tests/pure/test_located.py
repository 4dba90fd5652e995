from __future__ import annotations

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.located import MAX_BYTES, Node, load
from pytest_sonemu.descriptors.model import Place


def read(text: str | bytes) -> Node:
    findings = Findings()
    node = load(text.encode() if isinstance(text, str) else text, "f.yml", findings)
    assert node is not None, list(findings)
    assert not list(findings)
    return node


def fault(text: str | bytes) -> str:
    findings = Findings()
    load(text.encode() if isinstance(text, str) else text, "f.yml", findings)
    (finding,) = findings
    return str(finding)


def test_every_key_and_value_has_its_place() -> None:
    node = read("a: 1\nb:\n  - x: y\n  - zz\n")
    assert node.places() == {
        (): Place("f.yml", 1, 1),
        ("a",): Place("f.yml", 1, 1),
        ("b",): Place("f.yml", 2, 1),
        ("b", 0): Place("f.yml", 3, 5),
        ("b", 0, "x"): Place("f.yml", 3, 5),
        ("b", 1): Place("f.yml", 4, 5),
    }
    assert node.value["b"].value[0].value["x"].place == Place("f.yml", 3, 8)


def test_scalars_are_read_as_yaml_1_2_does_and_keep_their_text() -> None:
    node = read(
        "[1, -2, 0.10, 1e3, true, False, null, ~, no, off, 12:30:45, 0x1f, 1_000, '7', !!str 8, 2026-01-01]"
    )
    assert node.plain() == [
        1, -2, 0.1, 1000.0, True, False, None, None,
        "no", "off", "12:30:45", 31, "1_000", "7", "8", "2026-01-01",
    ]  # fmt: skip
    assert node.value[2].text == "0.10"


def test_anchors_and_merge_keys_are_followed() -> None:
    node = read("base: &b {cpu: 1, memory: 2}\nvnf:\n  <<: *b\n  cpu: 3\nsame: *b\n")
    assert node.plain() == {
        "base": {"cpu": 1, "memory": 2},
        "vnf": {"cpu": 3, "memory": 2},
        "same": {"cpu": 1, "memory": 2},
    }


def test_what_is_refused_is_named_with_its_place() -> None:
    assert fault("a: 1\nb: 2\na: 3\n") == (
        "f.yml:3:1: error[invalid_yaml]: key 'a' is written twice (first in line 1) (remove one of them)"
    )
    assert fault("a: b: c\n").startswith(
        "f.yml:1:5: error[invalid_yaml]: not YAML: mapping values are not allowed"
    )
    assert fault(b"a: caf\xe9\n").startswith("f.yml:1:7: error[invalid_yaml]: not UTF-8: byte 0xe9")
    assert fault("a: !!python/object/apply:os.system [id]").startswith("f.yml:1:4: error")
    assert "is not allowed" in fault("a: !!python/object/apply:os.system [id]")
    assert "refers to itself" in fault("a: &x [*x]")
    assert "is not defined before" in fault("a: *x")
    assert "more than one document" in fault("a: 1\n---\nb: 2\n")
    assert "cannot be a key" in fault("? [a, b]\n: c")
    assert "nested deeper" in fault("[" * 5000)
    assert "bytes, more than" in fault(b"a" * (MAX_BYTES + 1))
    assert fault("a: 1\nb: \x01\n").startswith("f.yml:2:4: error[invalid_yaml]: not YAML:")


def test_an_alias_bomb_is_refused_without_growing() -> None:
    lines = ["a: &a [" + ", ".join(["x"] * 9) + "]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    assert "aliases expand" in fault("\n".join(lines))


def test_an_empty_file_is_a_document_without_content() -> None:
    assert read("").value is None
    assert read("# nothing\n").value is None


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_make_a_traceback(data: bytes) -> None:
    findings = Findings()
    node = load(data, "f.yml", findings)
    assert (node is None) <= findings.failed
    if node is not None:
        node.plain()
        node.places()


_text = st.text(st.characters(codec="utf-8"), max_size=10)
_data = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | _text,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz", min_size=1), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(_data)
def test_what_yaml_writes_is_read_back(data: object) -> None:
    # In quotes throughout: PyYAML writes YAML 1.1, where 0E0 without them is a text.
    assert read(yaml.safe_dump(data, default_style='"')).plain() == data

"""Writes `docs/reference`: every public name with its signature and its docstring, from the code itself.

python -m scripts.reference
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from scripts.reference_pages import COMMANDS, PAGES, Page

FOLDER = Path(__file__).parents[1] / "docs/reference"
HOUSE = "pytest_sonemu"
NOTE = "<!-- Made by `make reference` from docstrings: change them, not this file. -->"
Function = ast.FunctionDef | ast.AsyncFunctionDef


def render() -> dict[str, str]:
    """The text of each page by its file name."""
    found = {page.file: _text(page, _page(page)) for page in PAGES}
    found[COMMANDS.file] = _text(COMMANDS, _commands())
    rows = [f"| [{page.title}]({page.file}) | {_listed(page)} |" for page in (*PAGES, COMMANDS)]
    lead = (
        "Every public name, with its signature and what it says of itself. How they go together is in"
        " [the guide](../guide.md)."
    )
    found["README.md"] = "\n".join(
        [NOTE, "", "# Reference", "", lead, "", "| page | names |", "|---|---|", *rows, ""]
    )
    return found


def _listed(page: Page) -> str:
    if page is COMMANDS:
        return "`sonemu` and its verbs"
    names = [name.partition(":")[2] for name in page.names] or ["SonemuError", "…"]
    return ", ".join(f"`{name}`" for name in names)


def _text(page: Page, lines: Iterator[str]) -> str:
    text = "\n".join([NOTE, "", f"# {page.title}", "", page.lead, *lines])
    return re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"


def _page(page: Page) -> Iterator[str]:
    if page.file == "errors.md":
        module = import_module(f"{HOUSE}.errors")
        yield from _prose(module.__doc__ or "")
        for name, value in vars(module).items():
            if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_"):
                yield from _class(name, value)
        return
    for entry in page.names:
        home, _, name = entry.partition(":")
        module = import_module(f"{HOUSE}.{home}")
        value = getattr(module, name)
        if inspect.isclass(value):
            yield from _class(name, value)
        else:
            yield from _function(name, module, home)


# -- functions and fixtures -----------------------------------------------------------------------


def _function(name: str, module: ModuleType, home: str) -> Iterator[str]:
    node = _nodes(module.__name__)[name]
    assert isinstance(node, ast.FunctionDef)
    fixture = home in ("plugin", "short_names")
    kind = "fixture" if fixture else "hook" if home == "hooks" else "function"
    yield from ("", f"## {kind} `{name}`", "")
    if not fixture:
        yield from (*_signature(node), "")
    yield from _prose(ast.get_docstring(node) or "")


# -- classes --------------------------------------------------------------------------------------


def _class(name: str, cls: type) -> Iterator[str]:
    yield from ("", f"## class `{name}`", "")
    bases = [base.__name__ for base in cls.__mro__[1:] if _is_shown(base)]
    if bases:
        yield from (f"Also all of `{bases[0]}`.", "")
    node = _nodes(cls.__module__)[cls.__name__]
    assert isinstance(node, ast.ClassDef)
    yield from _prose(ast.get_docstring(node) or "")
    yield from _fields(cls)
    for member, owner in _members(cls).items():
        yield from _member(cls, member, owner)


def _is_shown(cls: type) -> bool:
    """Whether a class has a section of its own."""
    return any(
        entry.endswith(f"{cls.__module__.removeprefix(f'{HOUSE}.')}:{cls.__name__}") for entry in _shown()
    ) or (cls.__module__ == f"{HOUSE}.errors")


def _shown() -> Iterator[str]:
    for page in PAGES:
        yield from page.names


def public_members(cls: type) -> dict[str, type]:
    """The public methods and properties by name, with the class of this house that defines each."""
    found: dict[str, type] = {}
    for owner in cls.__mro__:
        if not owner.__module__.startswith(HOUSE):
            continue
        for name, value in vars(owner).items():
            kinds = (FunctionType, property, classmethod, staticmethod)
            if not name.startswith("_") and isinstance(value, kinds):
                found.setdefault(name, owner)
    return found


def _members(cls: type) -> dict[str, type]:
    """What is said of a class itself: not what a base with a section of its own has."""
    elsewhere = {base for base in cls.__mro__[1:] if _is_shown(base)}
    elsewhere |= {above for base in elsewhere for above in base.__mro__}
    return {name: owner for name, owner in public_members(cls).items() if owner not in elsewhere}


def _fields(cls: type) -> Iterator[str]:
    rows = []
    for owner in reversed(cls.__mro__):
        if owner.__module__.startswith(HOUSE):
            rows += [_field(node) for node in _class_node(owner).body if _is_field(node)]
    if rows and (hasattr(cls, "__dataclass_fields__") or hasattr(cls, "_fields")):
        yield from ("", "| field | type | default |", "|---|---|---|", *rows)


def _is_field(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and not node.target.id.startswith("_")
    )


def _field(node: ast.stmt) -> str:
    assert isinstance(node, ast.AnnAssign)
    assert isinstance(node.target, ast.Name)
    default = f"`{ast.unparse(node.value)}`" if node.value is not None else ""
    if default.startswith("`field("):
        default = ""
    kind = ast.unparse(node.annotation).replace("|", "\\|")
    return f"| `{node.target.id}` | `{kind}` | {default} |"


def _member(cls: type, name: str, owner: type) -> Iterator[str]:
    nodes = {
        node.name: node
        for node in _class_node(owner).body
        if isinstance(node, Function) and not _is_setter(node)
    }
    node = nodes[name]
    marks = [ast.unparse(mark) for mark in node.decorator_list]
    yield from ("", f"### `{cls.__name__}.{name}`", "")
    if any(mark in ("property", "cached_property") for mark in marks):
        kind = ast.unparse(node.returns) if node.returns else ""
        yield from (f"    {name}: {kind}", "")
    else:
        returned = ast.unparse(node.returns) if node.returns is not None else ""
        block = "contextmanager" in marks or returned == "AbstractContextManager[None]"
        yield from (*_signature(node, block=block), "")
    text = ast.get_docstring(node) or inspect.getdoc(getattr(owner, name)) or ""
    yield from _prose(text)


def _is_setter(node: Function) -> bool:
    return any(isinstance(mark, ast.Attribute) and mark.attr == "setter" for mark in node.decorator_list)


def _class_node(cls: type) -> ast.ClassDef:
    node = _nodes(cls.__module__)[cls.__name__]
    assert isinstance(node, ast.ClassDef)
    return node


@cache
def _nodes(module: str) -> Mapping[str, ast.ClassDef | Function]:
    source = Path(inspect.getfile(import_module(module))).read_text()
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name: node for node in ast.parse(source).body if isinstance(node, kinds)}


# -- text -----------------------------------------------------------------------------------------


def _signature(node: Function, *, block: bool = False) -> list[str]:
    """As code, an argument a line where it would be long."""
    arguments = _arguments(node.args)
    given = ast.unparse(node.returns) if node.returns else "None"
    if block:
        inner = re.sub(r"^(Iterator|Generator)\[(.*)\]$", r"\2", given)
        given = "with" if inner == "None" else f"with … as {inner}"
    end = f") -> {given}"
    line = f"{node.name}({', '.join(arguments)}{end}"
    if len(line) <= 100:
        return [f"    {line}"]
    return [f"    {node.name}(", *(f"        {argument}," for argument in arguments), f"    {end}"]


def _arguments(args: ast.arguments) -> list[str]:
    def one(arg: ast.arg, default: ast.expr | None, stars: str = "") -> str:
        kind = f": {ast.unparse(arg.annotation)}" if arg.annotation else ""
        value = f" = {ast.unparse(default)}" if default is not None else ""
        return f"{stars}{arg.arg}{kind}{value}"

    plain = [*args.posonlyargs, *args.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(args.defaults))
    found = [
        one(arg, default)
        for arg, default in zip(plain, [*defaults, *args.defaults], strict=True)
        if arg.arg not in ("self", "cls")
    ]
    if args.vararg:
        found.append(one(args.vararg, None, "*"))
    elif args.kwonlyargs:
        found.append("*")
    found += [one(arg, default) for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    if args.kwarg:
        found.append(one(args.kwarg, None, "**"))
    return found


def _prose(text: str) -> Iterator[str]:
    """A docstring as Markdown: paragraphs of Python are set as code."""
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        if _is_code(paragraph):
            yield from (f"    {line}".rstrip() for line in textwrap.dedent(paragraph).splitlines())
        else:
            yield from paragraph.splitlines()
        yield ""


def _is_code(paragraph: str) -> bool:
    if paragraph.startswith("    "):
        return True
    try:
        body = ast.parse(textwrap.dedent(paragraph)).body
    except SyntaxError:
        return False
    return any(not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call) for node in body)


# -- the command line -----------------------------------------------------------------------------


def _commands() -> Iterator[str]:
    from pytest_sonemu.cli import VERBS, main

    # As the program makes them: a command keeps its help option, `-h` and all, from its first context on.
    context = main.make_context("sonemu", [], resilient_parsing=True)
    for verb in VERBS:
        command = main.get_command(context, verb)
        assert command is not None
        inner = command.make_context(
            verb, [], parent=context, resilient_parsing=True, terminal_width=100, max_content_width=100
        )
        yield from ("", f"## `sonemu {verb}`", "")
        yield from (f"    {line}".rstrip() for line in command.get_help(inner).splitlines())


def main() -> None:
    """Writes the pages of this checkout, and removes those that are no more."""
    pages: dict[str, Any] = render()
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.md"):
        if file.name not in pages:
            file.unlink()
    for name, text in pages.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()

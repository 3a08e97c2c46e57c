"""The architecture as a test: imports run downwards only, third parties stay in their rooms, modules stay small."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "remotejobs"
# From the top. A line's parts may not import each other, except within one part.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"sync"},
    {"api"},
    {"compose"},
    {"detach"},
    {"views", "sim"},
    {"jobs", "doctor"},
    {"engine", "session", "compat", "store"},
    {"transport"},
    {"wsman", "auth", "targets"},
    {"clock"},
    {"ports"},
    {"rows"},
    {"config"},
    {"model"},
    {"states"},
    {"errors"},
    {"__init__"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
# What a part may not import although it lies below.
FORBIDDEN = {
    "sim": {"wsman", "transport", "session", "engine", "store", "jobs", "compose", "api"},
    "views": {"engine", "session", "compat", "store", "transport", "auth"},
    "engine": {"transport", "auth", "targets"},
    "store": {"transport", "auth", "targets"},
    "session": {"auth", "targets"},
    "compat": {"targets"},
    "doctor": {"engine", "compat", "store", "auth"},
    "jobs": {"transport", "auth", "targets", "engine", "session", "compat", "store"},
    "cli": {"engine", "session", "compat", "store", "transport", "wsman", "ports", "rows"},
}
PURE = {"asyncio", "socket", "ssl", "time", "threading"}
NOT_IN = {"wsman": PURE, "auth": PURE, "targets": PURE, "states": PURE, "model": PURE, "errors": PURE}
ROOMS = {
    "tenacity": {"engine"},
    "httptools": {"transport"},
    "pybase64": {"wsman"},
    "spnego": {"auth", "sim"},
    "krb5": {"auth"},
    "psrpcore": {"sim"},
    "lxml": {"wsman", "sim"},
    "rich": {"views", "cli"},
    "platformdirs": {"config", "store"},
    "keyring": {"auth"},
    "gssapi": {"auth", "sim"},
    "uvloop": {"compose", "sim"},
    "pypsrp": {"compat"},
    "winrm": {"compat"},
    "requests": {"compat"},
    "urllib3": {"compat"},
    "cryptography": {"sim", "transport", "wsman", "doctor"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names) if module == "remotejobs" else [module]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downwards(path: Path) -> None:
    part = part_of(path)
    assert part in LEVEL, f"{part} has no place in the layers"
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "remotejobs":
            other = rest.split(".")[0]
            if other == part or not rest or other not in LEVEL:
                continue
            assert LEVEL[other] > LEVEL[part], f"{part} imports {other}"
            assert other not in FORBIDDEN.get(part, ()), f"{part} imports {other}"
        else:
            assert top not in NOT_IN.get(part, ()), f"{part} imports {top}"
            assert top in sys.stdlib_module_names or top in ROOMS, f"{top} has no room"
            assert top not in ROOMS or part in ROOMS[top], f"{top} is in {part}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_are_small_and_say_what_they_know(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.name == "__init__.py" and path.parent != PACKAGE:
        assert text == ""
        return
    assert len(text.splitlines()) <= 500
    docstring = ast.get_docstring(ast.parse(text)) or ""
    assert docstring, "no docstring"
    if path.name not in ("__init__.py", "__main__.py"):
        assert any(word in docstring for word in ("Knows", "knows")), "the docstring does not say what it knows"


def test_importing_the_package_starts_nothing() -> None:
    import subprocess

    heavy = "asyncio", "lxml", "ssl", "rich", "httptools"
    code = f"import sys, remotejobs; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_exported_once_and_exist() -> None:
    import remotejobs

    assert sorted(remotejobs.__all__) == sorted(set(remotejobs._HOMES))
    for name in remotejobs.__all__:
        assert getattr(remotejobs, name) is not None

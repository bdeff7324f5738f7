"""The house read from its source alone: modules, imports, sizes."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "dragoman"


def modules() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name below `dragoman`; the package has the empty name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        dotted = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found[dotted.removesuffix("__init__").removesuffix(".")] = ast.parse(
            path.read_text("utf-8"), str(path)
        )
    return found


def path_of(module: str) -> Path:
    """The file of a module."""
    place = PACKAGE.joinpath(*module.split(".")) if module else PACKAGE
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def imports(module: str, tree: ast.Module) -> set[str]:
    """Every imported name, absolute, also inside functions; imports for type checkers count too."""
    here = ["dragoman", *module.split(".")] if module else ["dragoman"]
    is_package = path_of(module).name == "__init__.py"
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + is_package] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            found |= {".".join([*base, alias.name]) for alias in node.names}
    return found

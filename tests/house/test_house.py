"""The rules of the house, each checked on every module."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from source import PACKAGE, ROOT, imports, modules, path_of

LAYERS = [  # top first; a layer may import only what stands below it; "a | b" are strangers to one another
    "__main__",
    "cli",
    "judging",
    "options",
    "terminal",
    "demo | doctor",
    "api",
    "serving",
    "training | explanation | exporting",
    "evaluation",
    "decoding",
    "bundle",
    "data | model",
    "native",
    "records | recipe",
    "errors",
]
HOMES = {  # an optional or heavy library is imported only here
    "transformers": {"model.pretrained", "data.pretrained"},
    "ctranslate2": {"exporting.ctranslate2"},
    "onnx": {"exporting.onnx"},
    "pyarrow": {"data.parquet"},
    "matplotlib": {"explanation.pictures"},
    "soundfile": {"data.audio"},
    "soxr": {"data.audio"},
    "tensorboardX": {"training.progress"},
    "sacremoses": {"evaluation.moses"},
    "sentencepiece": {"data.subwords"},
    "babel": {"demo.dates"},
    "yaml": {"recipe.yaml_reader", "recipe.loading"},
}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "common", "misc", "manager", "base", "core"}
HOUSE = modules()


@pytest.mark.parametrize("module", HOUSE)
def test_files_and_functions_stay_small(module):
    lines = len(path_of(module).read_text("utf-8").splitlines())
    assert lines <= 400, f"{module} has {lines} lines: find a better cut"
    for node in ast.walk(HOUSE[module]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = node.end_lineno - node.lineno + 1
            assert size <= 60, f"{module}.{node.name} has {size} lines: find a better cut"


@pytest.mark.parametrize("module", HOUSE)
def test_imports_point_downwards(module):
    height = {name: -level for level, row in enumerate(LAYERS) for name in row.split(" | ")}
    room = module.split(".")[0]
    if not room:
        return  # the package's own __init__ names what is public; test_public_names holds it
    assert room in height, f"{module} stands in no layer"
    for name in imports(module, HOUSE[module]):
        top, *rest = name.split(".")
        if top == "dragoman" and rest and rest[0] in height and rest[0] != room:
            assert height[rest[0]] < height[room], f"{module} must not import {name}"


def test_there_are_no_cycles():
    graph = {}
    for module, tree in HOUSE.items():
        ours = {n.removeprefix("dragoman.") for n in imports(module, tree) if n.startswith("dragoman.")}
        graph[module] = {
            n for n in (x if x in HOUSE else x.rpartition(".")[0] for x in ours) if n in HOUSE
        } - {""}
    TopologicalSorter({module: needs for module, needs in graph.items() if module}).prepare()


@pytest.mark.parametrize("module", HOUSE)
def test_libraries_stay_at_home(module):
    for name in imports(module, HOUSE[module]):
        home = HOMES.get(name.split(".")[0])
        assert home is None or module in home, f"{module} imports {name}, whose home is {sorted(home)}"


@pytest.mark.parametrize("module", HOUSE)
def test_names(module):
    last = module.split(".")[-1]
    assert last not in FORBIDDEN_NAMES
    if "." not in module or last == "":
        assert last in {"", "__main__"} or last not in sys.stdlib_module_names
    for node in ast.walk(HOUSE[module]):
        if isinstance(node, ast.ClassDef):
            assert not re.search(r"(Utils?|Helper|Manager|Base|Core)s?$", node.name), f"{module}.{node.name}"


@pytest.mark.parametrize("module", [m for m in HOUSE if m and path_of(m).name == "__init__.py"])
def test_package_inits_hold_a_docstring_only(module):
    assert len(HOUSE[module].body) == 1
    assert ast.get_docstring(HOUSE[module])


@pytest.mark.parametrize("module", HOUSE)
def test_nothing_is_pickled_or_evaluated(module):
    called = {
        node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        for node in ast.walk(HOUSE[module])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
    }
    names = {name.split(".")[0] for name in imports(module, HOUSE[module])}
    assert not names & {"pickle", "dill", "shelve", "marshal", "joblib"}, f"{module} imports a pickler"
    assert not any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"}
        for node in ast.walk(HOUSE[module])
    ), f"{module} evaluates text"
    assert not ("load" in called and "torch.load" in path_of(module).read_text("utf-8"))


def _imported_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_or_its_recipes_needs_no_torch():
    assert "torch" not in _imported_after("import dragoman; dragoman.load_recipe; dragoman.Recipe")
    assert "torch" not in _imported_after("import dragoman.cli")


def test_shapes_of_a_model_need_no_compiler():
    found = _imported_after(
        "import torch; from dragoman.model.build import build_model; from dragoman.records import Port\n"
        "from dragoman.recipe.model import Model\n"
        "with torch.device('meta'): build_model(Model(), Port('tokens', 9), Port('tokens', 9))"
    )
    assert "torch" in found
    assert "torch._dynamo" not in found


def test_public_names_are_sorted_and_all_there():
    import dragoman

    assert list(dragoman.__all__) == sorted(dragoman.__all__)
    for name in dragoman.__all__:
        assert hasattr(dragoman, name), name
    assert set(dragoman.__all__) <= set(dir(dragoman))
    with pytest.raises(AttributeError, match="no_such_name"):
        dragoman.no_such_name  # noqa: B018 - the access is the test


def test_the_project_speaks_of_itself_only():
    words = re.compile(r"/work/|claude|anthropic|pypi\.org|subagent", re.IGNORECASE)
    for path in [
        *PACKAGE.rglob("*.py"),
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("*.md"),
        *ROOT.glob("recipes/**/*.yaml"),
        *ROOT.glob("recipes/**/*.py"),
    ]:
        found = words.search(path.read_text("utf-8"))
        assert not found, f"{path}: {found and found.group()}"

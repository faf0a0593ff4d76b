"""Imports only go down: the floors of fastlrp/, from the ground up, with no cycle on any of them.

Imports are parsed, including lazy ones and those for types.
"""

import ast
from pathlib import Path

import pytest

import fastlrp

PACKAGE = Path(fastlrp.__file__).parent
#: A room (a file or folder) may import itself, rooms before it on its floor, and anything on a floor below.
FLOORS = (
    ("errors", "messages", "progress", "objects", "checks", "masks", "rules", "gradient_rules", "text_tables", "whole"),
    ("model", "panels"),
    ("relevance", "plot"),
    (
        "kernels.program", "kernels.kept", "kernels.parts", "kernels.target", "kernels.machine", "kernels.lanes",
        "kernels.formulas", "kernels.gradients", "kernels.curves", "kernels.memory", "kernels.helpers",
        "kernels.results", "kernels.cpu", "kernels.training",
        "kernels.cuda", "kernels",
    ),
    ("batches", "again", "explain", "network", "ensemble"),
    ("keras", "data"),
    ("files",),
    ("learning", "evidence"),
    ("reporting", "cluster"),
    ("cli",),
)  # fmt: skip
#: On the roof: the public names and the command.
ROOF = ("__init__", "__main__")


def module_of(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imports(path):
    """Modules of fastlrp that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.removeprefix("fastlrp.") for name in names if name.startswith("fastlrp."))


def files():
    return {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def target(name, modules):
    """The file that an imported name is, or is defined in."""
    while name:
        for candidate in (name, f"{name}.__init__"):
            if candidate in modules:
                return candidate
        name = name.rpartition(".")[0]
    return "__init__"


def arrows():
    modules = files()
    return {
        (module, target(name, modules))
        for module, path in modules.items()
        for name in imports(path)
        if target(name, modules) != module
    }


def room(module):
    """Name, floor and place of the smallest room that holds a module."""
    found = [
        (name, floor, place)
        for floor, rooms in enumerate((*FLOORS, ROOF))
        for place, name in enumerate(rooms)
        if module == name or module.startswith(f"{name}.")
    ]
    assert found, f"{module} stands on no floor: give it one in tests/test_house.py"
    return max(found, key=lambda one: len(one[0]))


def test_imports_go_down():
    climbing = [
        f"{source} -> {to}"
        for source, to in sorted(arrows())
        if room(source)[0] != room(to)[0] and room(source)[1:] < room(to)[1:]
    ]
    assert not climbing, climbing


def test_there_is_no_circle():
    graph = {module: set() for module in files()}
    for source, to in arrows():
        graph[source].add(to)
    done, path = set(), []

    def visit(module):
        if module in path:
            pytest.fail(" -> ".join([*path[path.index(module) :], module]))
        if module not in done:
            path.append(module)
            for other in sorted(graph[module]):
                visit(other)
            path.pop()
            done.add(module)

    for module in graph:
        visit(module)


def test_every_room_is_there():
    modules = files()
    for rooms in FLOORS:
        for name in rooms:
            assert any(module == name or module.startswith(f"{name}.") for module in modules), name


#: Whoever may load code or run a program: compiled kernels come from Numba's own files, sealed; `fastlrp bench` runs
#: the benchmarks of a checkout.
MAY = {"kernels.kept": {"pickle"}, "cli.bench": {"subprocess"}}
RUNS_CODE = {
    "pickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "joblib",
    "subprocess",
    "pty",
    "code",
    "runpy",
    "torch",
}


def test_nothing_is_executed_from_a_file():
    found = {}
    for module, path in files().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = {alias.name.partition(".")[0] for alias in node.names} & RUNS_CODE
            elif isinstance(node, ast.ImportFrom):
                names = {node.module.partition(".")[0]} & RUNS_CODE
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names = {node.func.id} & {"eval", "exec", "compile", "__import__"}
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                names = {ast.unparse(node.func)} & {"os.system", "os.popen", "pd.read_pickle"}
            elif isinstance(node, ast.keyword) and ast.unparse(node.value) != "False":
                names = {node.arg} & {"allow_pickle", "shell"}
            else:
                continue
            if names:
                found.setdefault(module, set()).update(names)
    assert found == MAY

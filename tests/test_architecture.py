"""Imports go one way and in no circle, modules are neither crumbs nor heaps, and nothing below the widgets knows Qt.

The first two are proven from the source, the last one by running.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import beadseg
from beadseg.cli.app import COMMANDS

PACKAGE = Path(beadseg.__file__).parent
FLOORS = (
    ("errors",), ("events",), ("files",), ("text",), ("config",), ("runtime",), ("data",), ("model",),
    ("measure",), ("predict",), ("annotation",), ("training",), ("sweep",), ("report",), ("cluster",),
    ("cli", "widgets"),
)  # fmt: skip
DISTRIBUTIONS = {
    "PIL": "pillow", "dask": "distributed", "dask_jobqueue": "dask-jobqueue", "ome_zarr_models": "ome-zarr-models",
    "skimage": "scikit-image", "sklearn": "scikit-learn", "yaml": "pyyaml",
}  # fmt: skip
"""Names of packages that are called otherwise where they are imported."""
_spec = importlib.util.spec_from_file_location("house", PACKAGE.parents[1] / "benchmarks" / "house.py")
assert _spec is not None
assert _spec.loader is not None
house = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(house)
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
GUI = {"napari", "qtpy", "magicgui", "superqt", "vispy", "PyQt5", "PyQt6", "PySide2", "PySide6"}
HEAVY = GUI | {"torch", "monai", "pandas", "skimage", "sklearn", "scipy", "matplotlib"}
MODULES = sorted(PACKAGE.rglob("*.py"))
DESIGN = PACKAGE.parents[1] / "docs" / "design.md"
MOST_FILES = 222
"""220, and what holds images that do not fit in memory."""
MOST_LINES = 450
"""Code lines of a module, at most."""
LONGEST_FUNCTION = 45
"""Code lines of its body, at most."""
SMALL = 80
"""A module with fewer code lines and one importer, in its own folder, is part of that importer."""
SMALL_FOR_A_REASON = {}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> set[str]:
    """Return every module named by an import anywhere in `tree`, in functions too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def wrong_imports(path: Path) -> list[str]:
    room = room_of(path)
    named = {name.split(".")[1] for name in imports(ast.parse(path.read_text("utf-8"))) if name.startswith("beadseg.")}
    rooms = {name for name in named if name in LEVEL and name != room}
    return [other for other in sorted(rooms) if LEVEL[other] >= LEVEL[room]]


def test_every_room_has_its_floor() -> None:
    rooms = {room_of(path) for path in MODULES} - {"__init__", "__main__"}
    assert rooms <= set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    if room_of(path) not in {"__init__", "__main__"}:  # these two are the doors to all rooms
        assert wrong_imports(path) == []


def test_every_room_is_described() -> None:
    """In the table of docs/design.md."""
    design = DESIGN.read_text("utf-8")
    table = "".join(line.split("|")[1] for line in design.splitlines() if line.startswith("| `"))
    assert [room for rooms in FLOORS for room in rooms if f"`{room}`" not in table] == []


def test_everything_that_is_imported_is_declared() -> None:
    project = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = [
        *project["dependencies"],
        *(each for name in extras if name not in ("test", "dev") for each in extras[name]),
    ]
    known = {re.split(r"[<>=\[;! ]", each)[0].lower() for each in declared}
    named = {name.split(".")[0] for path in MODULES for name in imports(ast.parse(path.read_text("utf-8")))}
    other = named - set(sys.stdlib_module_names) - {"beadseg", "__future__"}
    assert sorted(name for name in other if DISTRIBUTIONS.get(name, name).lower() not in known) == []


def name_of(path: Path) -> str:
    return ".".join(("beadseg", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def import_graph() -> dict[str, set[str]]:
    """Return the modules of beadseg that each one imports: anywhere, in functions and for types too."""
    names = {name_of(path): path for path in MODULES}
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        found: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                parts = {f"{node.module}.{alias.name}" for alias in node.names}
                found.update(parts & set(names) or {node.module})
        graph[name] = (found & set(names)) - {name}
    del graph["beadseg"]  # the door to all rooms
    return graph


def in_a_circle(graph: dict[str, set[str]]) -> list[str]:
    """Return what is left when what imports nothing that is left, or is imported by nothing, is taken away."""
    left = dict(graph)
    while True:
        imported = set().union(*left.values()) if left else set()
        free = [name for name, found in left.items() if not found & set(left) or name not in imported]
        if not free:
            return sorted(left)
        for name in free:
            del left[name]


def test_no_circle_between_files() -> None:
    assert in_a_circle(import_graph()) == []


def test_a_circle_is_found() -> None:
    assert in_a_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"c"}}) == ["b", "c"]


def test_no_crumbs() -> None:
    """A small module with one importer, in its own folder, belongs into that one."""
    importers: dict[str, set[str]] = {}
    for name, found in import_graph().items():
        for each in found:
            importers.setdefault(each, set()).add(name)
    crumbs = []
    for path, lines in house.modules().items():
        name = name_of(PACKAGE / path)
        by = importers.get(name, set())
        if lines < SMALL and len(by) == 1 and not path.endswith("__init__.py"):
            crumbs += [f"{path} of {each}" for each in by if each.rpartition(".")[0] == name.rpartition(".")[0]]
    assert crumbs == []


def test_files_modules_and_functions_are_not_too_many_or_too_long() -> None:
    sizes = house.modules()
    assert len(sizes) <= MOST_FILES
    assert {path: lines for path, lines in sizes.items() if lines > MOST_LINES} == {}
    assert house.longest_function() <= (LONGEST_FUNCTION + 1,)


STARTS = {"subprocess.Popen", "subprocess.run", "multiprocessing.Process", "ProcessPoolExecutor", "get_context"}


@pytest.mark.parametrize(
    ("names", "only"),
    [
        (STARTS, "runtime/process.py"),
        ({"psutil.pid_exists"}, "runtime/locking.py"),
        ({"csv.writer", "csv.DictWriter"}, "text.py"),
    ],
)
def test_one_job_has_one_place(names: set[str], only: str) -> None:
    """Processes are started in one module, liveness is judged in one, tables are written in one."""
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and (ast.unparse(node.func) in names or ast.unparse(node.func).split(".")[-1] in names)
    }
    assert found <= {only}


def paths_of_the_design() -> list[list[str]]:
    """Return the numbered lists of files in docs/design.md."""
    lists: list[list[str]] = []
    for line in DESIGN.read_text("utf-8").splitlines():
        item = re.match(r"(\d+)\. `([\w/]+\.py)`", line)
        if item and item[1] == "1":
            lists.append([])
        if item:
            lists[-1].append(item[2])
    return lists


@pytest.mark.parametrize(
    ("path", "most"),
    [*zip(paths_of_the_design(), (8, 14, 5, 7), strict=True)],
    ids=("predict", "train", "start", "accept"),
)
def test_paths_of_the_design_are_short_and_connected(path: list[str], most: int) -> None:
    """Every file of a path is imported by one before it, or it imports one of them."""
    packages = {name_of(each) for each in MODULES if each.name == "__init__.py"}
    direct = import_graph()
    graph = {
        name: found.union(*(direct.get(each, set()) for each in found & packages)) for name, found in direct.items()
    }
    names = [name_of(PACKAGE / each) for each in path]
    assert len(path) <= most
    for place, name in enumerate(names[1:], start=1):
        before = set(names[:place])
        assert graph[name] & before or any(name in graph[each] for each in before), name


def test_every_module_is_named_in_the_design() -> None:
    """In the row of its room; the pages of `report`, the commands and the widgets by their kind."""
    rows = [line for line in DESIGN.read_text("utf-8").splitlines() if line.startswith("| `")]
    table = {row.split("|")[1].strip(" `"): row for row in rows if row.count("|") == 4}
    for path in house.modules():
        room, _, rest = path.rpartition("/")
        if not room or rest == "__init__.py" or room.split("/")[0] in {"report", "cli", "widgets"}:
            continue
        row = table[max((name for name in table if f"{room}/".startswith(f"{name}/")), key=len)]
        assert re.search(rf"`(?:\w+/)?{rest.removesuffix('.py')}`", row), f"{path} in the row of {room}"


def test_wrong_import_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "wrong.py"
    path.write_text("def late():\n    from beadseg.predict import Segmenter\n")
    assert wrong_imports(path) == ["predict"]


def loaded_by(code: str) -> set[str]:
    """Return the top-level packages that a fresh process has loaded after `code`."""
    report = f"{code}\nimport sys\nprint('|'.join({{name.split('.')[0] for name in sys.modules}}))"
    environment_path = str(PACKAGE.parent)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {environment_path!r})\n{report}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stdout.splitlines()[-1].split("|"))


def test_core_loads_no_gui() -> None:
    names = [".".join(("beadseg", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in MODULES]
    core = [name.removesuffix(".__init__") for name in names if ".widgets" not in name and "__main__" not in name]
    assert len(core) > 20
    loaded = loaded_by("\n".join(f"import {name}" for name in core))
    assert "torch" in loaded
    assert loaded & GUI == set()


@pytest.mark.parametrize(
    "code",
    [
        "import beadseg",
        "import beadseg.cli.app",
        "from beadseg.cli.app import main\nassert main(['--help']) == 0",
        "from beadseg.cli.app import main\nassert main(['--version']) == 0",
    ],
)
def test_command_line_loads_nothing_heavy(code: str) -> None:
    assert loaded_by(code) & HEAVY == set()


@pytest.mark.parametrize("command", list(COMMANDS))
def test_help_of_a_command_loads_nothing_heavy(command: str) -> None:
    code = f"from beadseg.cli.app import main\nassert main([{command!r}, '--help']) == 0"
    assert loaded_by(code) & HEAVY == set()


@pytest.mark.parametrize("name", beadseg.__all__)
def test_public_api_is_there(name: str) -> None:
    assert getattr(beadseg, name) is not None
    assert name in dir(beadseg)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        beadseg.nonsense  # noqa: B018

"""Imports go one way, and nothing below the widgets knows Qt: both proven, one from the source, one by running."""

from __future__ import annotations

import ast
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
    ("errors",), ("events",), ("files",), ("text",), ("config",), ("claim",), ("locking",), ("data",), ("model",),
    ("measure",), ("predict",), ("annotation",), ("training",), ("sweep",), ("report",), ("cluster",),
    ("cli", "widgets"),
)  # fmt: skip
DISTRIBUTIONS = {
    "PIL": "pillow", "dask": "distributed", "dask_jobqueue": "dask-jobqueue", "ome_zarr_models": "ome-zarr-models",
    "skimage": "scikit-image", "sklearn": "scikit-learn", "yaml": "pyyaml",
}  # fmt: skip
"""Names of packages that are called otherwise where they are imported."""
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
GUI = {"napari", "qtpy", "magicgui", "superqt", "vispy", "PyQt5", "PyQt6", "PySide2", "PySide6"}
HEAVY = GUI | {"torch", "monai", "pandas", "skimage", "sklearn", "scipy", "matplotlib"}
MODULES = sorted(PACKAGE.rglob("*.py"))


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
    design = (PACKAGE.parents[1] / "docs" / "design.md").read_text("utf-8")
    table = "".join(line.split("|")[1] for line in design.splitlines() if line.startswith("| `"))
    assert [room for rooms in FLOORS for room in rooms if f"`{room}`" not in table] == []


def test_everything_that_is_imported_is_declared() -> None:
    project = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *(each for name in ("napari", "tune", "cluster") for each in extras[name])]
    known = {re.split(r"[<>=\[;! ]", each)[0].lower() for each in declared}
    named = {name.split(".")[0] for path in MODULES for name in imports(ast.parse(path.read_text("utf-8")))}
    other = named - set(sys.stdlib_module_names) - {"beadseg", "__future__"}
    assert sorted(name for name in other if DISTRIBUTIONS.get(name, name).lower() not in known) == []


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

"""What is published with a release says what the package says: versions, dependencies, pages, schemas, tools."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import beadseg

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CONDA_NAMES = {"matplotlib": "matplotlib-base", "torch": "pytorch", "ome-zarr-models": "ome-zarr-models-py"}
"""Packages that conda-forge calls otherwise."""


def text(*parts: str) -> str:
    return ROOT.joinpath(*parts).read_text("utf-8")


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load(text("CITATION.cff"))
    assert cited["version"] == beadseg.__version__
    assert cited["license"] == PROJECT["license"]


def test_the_changelog_has_this_version() -> None:
    assert re.search(rf"^## {re.escape(beadseg.__version__)}\b", text("CHANGELOG.md"), re.MULTILINE)


def test_the_conda_recipe_needs_what_the_package_needs() -> None:
    recipe = text("conda", "meta.yaml")
    needed = re.findall(r"^    - ([\w-]+) (>=\S+)$", recipe.split("  run:")[1].split("test:")[0], re.MULTILINE)
    declared = [re.match(r"([\w-]+)(>=\S+)$", each) for each in PROJECT["dependencies"]]
    names = {CONDA_NAMES.get(each[1], each[1]): each[2] for each in declared if each}
    assert len(names) == len(PROJECT["dependencies"])
    assert dict(needed) == {"python": PROJECT["requires-python"], **names}
    assert f'version = "{beadseg.__version__}"' in recipe


def test_the_site_has_every_page_once() -> None:
    site = yaml.safe_load(text("mkdocs.yml"))
    found = re.findall(r"[\w/-]+\.md", str(site["nav"]))
    assert sorted(found) == sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("name", ["tests.yml", "release.yml"])
def test_workflows_have_no_rights_but_those_they_name_and_pin_what_they_use(name: str) -> None:
    workflow = yaml.safe_load(text(".github", "workflows", name))
    assert workflow["permissions"] == {}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", each) for each in used)
    targets = re.findall(r"make ([\w-]+)", text(".github", "workflows", name))
    assert set(targets) <= set(re.findall(r"^([\w-]+):", text("Makefile"), re.MULTILINE))
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())


def test_published_schemas_are_not_stale() -> None:
    spec = importlib.util.spec_from_file_location("write_reference", ROOT / "docs" / "write_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    published = {path.name: bare(json.loads(path.read_text("utf-8"))) for path in module.SCHEMAS.iterdir()}
    current = {name: bare(json.loads(schema)) for name, schema in module.schemas().items()}
    assert published == current, "run: python docs/write_reference.py"


def bare(schema: Any) -> Any:
    """Return a schema without its descriptions, which `configuration.md` and `file-formats.md` are held to."""
    if isinstance(schema, dict):
        return {key: bare(value) for key, value in schema.items() if key != "description" or isinstance(value, dict)}
    return [bare(each) for each in schema] if isinstance(schema, list) else schema

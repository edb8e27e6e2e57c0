"""What the documentation names is there: pages, headings, pictures, commands, options, names of the API."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from guide_pages import DOCS, blocks, commands, headings, links

import beadseg
from beadseg.cli.app import COMMANDS, main

PAGES = sorted(DOCS.rglob("*.md"))
GLOBAL_OPTIONS = {"--debug", "--version", "--help"}
LARGEST_PICTURE, ALL_PICTURES = 150_000, 1_800_000
"""Bytes."""


def ids(path: Path) -> str:
    return str(path.relative_to(DOCS))


@cache
def help_of(command: str) -> str:
    """Return what ``--help`` of a command, or of a command's command (``import coco``), prints."""
    import contextlib
    import io

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main([*command.split(), "--help"]) == 0
    return printed.getvalue()


def options_of(words: list[str]) -> str:
    """Return the help that a command's options stand in: of the command, and of the command below it."""
    name, *rest = words
    text = help_of(name)
    if name == "submit" and rest[:1] and rest[0] in COMMANDS:  # takes the options of what it sends, too
        return text + help_of(rest[0])
    inner = [word for word in rest[:1] if not word.startswith("-") and re.search(rf"^  {word}  ", text, re.MULTILINE)]
    return text + (help_of(f"{name} {inner[0]}") if inner else "")


@pytest.mark.parametrize("path", PAGES, ids=ids)
def test_links_lead_somewhere(path: Path) -> None:
    for target in links(path.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        there = path.parent / name if name else path
        assert there.exists(), f"{path.name}: {target}"
        if anchor:
            assert anchor in headings(there.read_text(encoding="utf-8")), f"{path.name}: {target}"


@pytest.mark.parametrize("path", PAGES, ids=ids)
def test_commands_and_options_are_known(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = [command for block in blocks(text) if block.language == "console" for command, _ in commands(block)]
    lines += re.findall(r"`(beadseg-batch [^`]*)`", text)
    for line in lines:
        words = [word for word in line.split() if word != "…"]
        if words[0] != "beadseg-batch":
            continue
        words = [word for word in words[1:] if word not in GLOBAL_OPTIONS]
        if not words:
            continue
        assert words[0] in COMMANDS, f"{path.name}: {line}"
        known = options_of(words)
        for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", line):
            assert option in known or option in GLOBAL_OPTIONS, f"{path.name}: {line}: {option}"


@pytest.mark.parametrize("path", PAGES, ids=ids)
def test_options_named_in_the_text_are_known(path: Path) -> None:
    """``--seed`` alone must be an option of some command; ``train --refit`` of this one."""
    text = path.read_text(encoding="utf-8")
    everything = "\n".join(options_of([name]) for name in COMMANDS) + " ".join(GLOBAL_OPTIONS)
    for code in re.findall(r"`([^`\n]*--[^`\n]*)`", text):
        first = code.split()[0]
        known = options_of(code.split()) if first in COMMANDS else everything
        if first == "beadseg-batch" or first.startswith(("python", "pip", "make")):
            continue
        for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", code):
            assert option in known, f"{path.name}: {code}: {option}"


@pytest.mark.parametrize("path", PAGES, ids=ids)
def test_settings_named_in_the_text_are_fields(path: Path) -> None:
    """What follows ``--set`` is a field that the command has."""
    from beadseg.config import PredictConfig, TrainConfig
    from beadseg.data.simulate import SceneConfig

    configurations = {
        "predict": [PredictConfig()],
        "simulate": [SceneConfig()],
        "train": [TrainConfig.preset("dense"), TrainConfig.preset("microbeads")],
    }
    text = path.read_text(encoding="utf-8")
    for line in re.findall(r"[^\n`]*--set [^\n`]*", text):
        if "# exit code 2" in line:  # shows that it is refused
            continue
        kind = next((name for name in configurations if f"beadseg-batch {name} " in line), None)
        settings = re.findall(r"--set ([a-z0-9_.]+=[^\s,;]+)", line)
        candidates = configurations[kind] if kind else [one for many in configurations.values() for one in many]
        assert any(accepts(configuration, settings) for configuration in candidates), f"{path.name}: {line}"


def accepts(configuration: beadseg.config.Config, settings: list[str]) -> bool:
    from beadseg.errors import ConfigError

    try:
        configuration.with_overrides(settings)
    except ConfigError:
        return False
    return True


def test_pictures_are_small_and_used() -> None:
    pictures = sorted((DOCS / "images").glob("*"))
    pages = [*PAGES, DOCS.parent / "README.md"]
    used = {Path(target).name for path in pages for target in links(path.read_text(encoding="utf-8"))}
    assert {picture.name for picture in pictures} <= used
    sizes = [picture.stat().st_size for picture in pictures]
    assert max(sizes) <= LARGEST_PICTURE
    assert sum(sizes) <= ALL_PICTURES


def test_every_page_is_in_the_index() -> None:
    named = {target.partition("#")[0] for target in links((DOCS / "index.md").read_text(encoding="utf-8"))}
    assert {ids(path) for path in PAGES} - {"index.md"} <= named


def test_every_public_name_is_on_the_api_page() -> None:
    text = (DOCS / "python-api.md").read_text(encoding="utf-8")
    python = "".join(block.text for block in blocks(text) if block.language == "python")
    for name in beadseg.__all__:
        assert f"`beadseg.{name}`" in text
        assert f"beadseg.{name}" in python or name == "__version__", f"{name} is not used"


def test_every_command_is_in_the_guide() -> None:
    everything = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    for command in COMMANDS:
        assert f"beadseg-batch {command}" in everything, command

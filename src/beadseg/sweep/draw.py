"""The trials of a sweep that need no results: a grid, random values, a Sobol sequence; the same with the same seed."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import qmc

from beadseg.config.sweep import GridConfig, SobolConfig, SweepConfig
from beadseg.errors import ConfigError
from beadseg.sweep.space import combinations, grid_values, key_of, values_at
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from beadseg.sweep.space import Parameters, Values

MOST_TRIALS = 10000
"""A grid with more is refused: PBS takes no larger arrays by default, and nobody has the time."""


def draw(space: SweepConfig, where: Path | str | None = None) -> list[Values]:
    """Return the trials of a sweep, of TPE those of the first round, all different.

    Raises
    ------
    ConfigError
        There are too many trials, or fewer different ones than asked for.
    """
    method, parameters = space.method, space.parameters
    if isinstance(method, GridConfig):
        return _grid(parameters, where)
    wanted = method.trials * space.rounds
    possible = combinations(parameters)
    if wanted > possible:
        raise ConfigError(f"There are only {possible:.0f} different trials, and {wanted} are asked for.", where,
                          "Ask for fewer, or use the method grid.")  # fmt: skip
    shares = _sobol if isinstance(method, SobolConfig) else random_shares
    return distinct(parameters, shares(len(parameters), space.seed), method.trials)


def distinct(
    parameters: Parameters, shares: Iterator[Sequence[float]], count: int, known: Sequence[Values] = ()
) -> list[Values]:
    """Return the first `count` different trials of a sequence that are not among the known ones."""
    seen = {key_of(values) for values in known}
    found: list[Values] = []
    while len(found) < count:
        values = values_at(parameters, next(shares))
        if key_of(values) not in seen:
            seen.add(key_of(values))
            found.append(values)
    return found


def random_shares(size: int, seed: Sequence[int] | int) -> Iterator[Sequence[float]]:
    """Yield points of the unit cube without end."""
    chance = np.random.default_rng(seed)
    while True:
        yield [float(share) for share in chance.random(size)]


def _sobol(size: int, seed: int) -> Iterator[Sequence[float]]:
    sequence = qmc.Sobol(size, scramble=True, seed=seed)
    while True:
        yield [float(share) for share in sequence.random(1)[0]]


def _grid(parameters: Parameters, where: Path | str | None) -> list[Values]:
    sides = [grid_values(item) for item in parameters.values()]
    count = int(np.prod([len(side) for side in sides], dtype=float))
    if count > MOST_TRIALS:
        raise ConfigError(f"The grid has {plural(count, 'trial')}; at most {MOST_TRIALS:,} are allowed.", where,
                          "Give fewer values, or use the method random or sobol.")  # fmt: skip
    return [dict(zip(parameters, values, strict=True)) for values in itertools.product(*sides)]

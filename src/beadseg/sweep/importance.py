"""How much each parameter of a sweep matters for the score."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from beadseg.config.sweep import RangeConfig
from beadseg.sweep.space import key_of
from beadseg.sweep.tpe import study

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beadseg.config.sweep import ChoicesConfig
    from beadseg.sweep.space import Parameters
    from beadseg.sweep.tpe import Told

COLUMNS = ("parameter", "importance", "method")
"""Of ``importance.csv``."""
ENOUGH = 10
"""With fewer finished trials a forest of trees learns nothing."""
FEWEST = 4
"""With fewer finished trials nothing is said at all."""
FANOVA, ALONE = "fANOVA", "ranks"
"""Optuna's functional analysis of variance; or what each parameter alone explains of the ranks."""


def importance(parameters: Parameters, told: Sequence[Told]) -> list[dict[str, str | float]]:
    """Return a row of `COLUMNS` per parameter, the most important first; none with fewer than `FEWEST` trials.

    With at least `ENOUGH` finished trials and Optuna installed: the shares of functional ANOVA over a random forest
    (Hutter et al. 2014), which sum to 1. Otherwise: the squared rank correlation of a range, or of choices the share of
    the ranks' variance between them (eta squared), each parameter for itself; with few trials chance alone makes some.
    """
    gains = [gain for _, gain in told]
    if len(told) < FEWEST or len(set(gains)) < 2:
        return []
    varying = {name: item for name, item in parameters.items() if len({key_of({name: v[name]}) for v, _ in told}) > 1}
    if len(told) >= ENOUGH and find_spec("optuna") is not None:
        method, shares = FANOVA, _fanova(varying, told)
    else:
        method, shares = ALONE, {name: _alone(name, item, told) for name, item in varying.items()}
    shares |= {name: 0.0 for name in parameters if name not in varying}
    ordered = sorted(shares, key=lambda name: (-shares[name], list(parameters).index(name)))
    return [{"parameter": name, "importance": round(shares[name], 4), "method": method} for name in ordered]


def _fanova(parameters: Parameters, told: Sequence[Told]) -> dict[str, float]:
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    kept = [({name: values[name] for name in parameters}, gain) for values, gain in told]
    found = get_param_importances(study(parameters, kept, seed=0), evaluator=FanovaImportanceEvaluator(seed=0))
    return {name: float(share) for name, share in found.items()}


def _alone(name: str, item: ChoicesConfig | RangeConfig, told: Sequence[Told]) -> float:
    """Return the share, 0 to 1, of the variance of the scores' ranks that a parameter explains alone."""
    ranks = rankdata([gain for _, gain in told])
    total = float(((ranks - ranks.mean()) ** 2).sum())
    if isinstance(item, RangeConfig):
        return float(np.corrcoef(rankdata([values[name] for values, _ in told]), ranks)[0, 1] ** 2)
    keys = [key_of({name: values[name]}) for values, _ in told]
    groups = [ranks[[key == chosen for key in keys]] for chosen in set(keys)]
    return sum(len(group) * float((group.mean() - ranks.mean()) ** 2) for group in groups) / total

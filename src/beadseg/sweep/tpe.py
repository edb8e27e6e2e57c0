"""The next trials of a sweep by Optuna's TPE.

The study lives in memory for as long as it is asked, and is told every time what is in the results of the trials: it
has no file of its own that several processes could damage.
"""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

from beadseg.config.sweep import ChoicesConfig, RangeConfig
from beadseg.errors import MachineError
from beadseg.sweep.draw import distinct, random_shares
from beadseg.sweep.space import DIGITS, key_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import optuna

    from beadseg.sweep.space import Parameters, Values

STARTUP = 10
"""With fewer results TPE draws at random."""
PATIENCE = 50
"""So often in a row TPE may propose what is known; then random trials are taken."""

Told = tuple["Values", float]
"""Values of a trial, and how good it was: more is better."""


def require_optuna() -> None:
    """Raise `MachineError` where Optuna is not installed."""
    from importlib.util import find_spec

    if find_spec("optuna") is None:
        raise MachineError("The method tpe needs Optuna, which is not installed.", "sweep",
                           'Install it: pip install "beadseg[tune]", or use the method random or sobol.')  # fmt: skip


def propose(parameters: Parameters, told: Sequence[Told], known: Sequence[Values], count: int, seed: int,
            round_number: int) -> list[Values]:  # fmt: skip
    """Return the trials of a round.

    Parameters
    ----------
    parameters : mapping
        What is swept.
    told : sequence of (Values, float)
        Every finished trial, and how good it was: more is better.
    known : sequence of Values
        Every planned trial; none is proposed again.
    count : int
        Trials of the round.
    seed, round_number : int
        Seed of the sweep, and the number of the round. The same arguments give the same trials.
    """
    asked = study(parameters, told, seed=(seed * 1009 + round_number) % 2**32)
    forms = distributions(parameters)
    seen, found, tries = {key_of(values) for values in known}, list[dict[str, Any]](), 0
    while len(found) < count and tries < PATIENCE:
        values = _values(parameters, asked.ask(dict(forms)).params)
        tries += 1
        if key_of(values) not in seen:
            seen.add(key_of(values))
            found.append(values)
            tries = 0
    rest = random_shares(len(parameters), [seed, round_number])
    return found + distinct(parameters, rest, count - len(found), [*known, *found])


def study(parameters: Parameters, told: Sequence[Told], seed: int) -> optuna.Study:
    """Return a study in memory that knows the finished trials."""
    require_optuna()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        startup = min(STARTUP, max(1, len(told)))
        # The liar keeps trials of one round apart, which are asked for before any of them has ended.
        sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=startup)
    made = optuna.create_study(direction="maximize", sampler=sampler)
    forms = distributions(parameters)
    for values, gain in told:
        made.add_trial(optuna.trial.create_trial(params=_params(parameters, values), distributions=dict(forms),
                                                 value=gain))  # fmt: skip
    return made


def distributions(parameters: Parameters) -> Mapping[str, optuna.distributions.BaseDistribution]:
    """Return the parameters as Optuna has them; choices are JSON texts, since Optuna takes no lists or mappings."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    def form(item: ChoicesConfig | RangeConfig) -> optuna.distributions.BaseDistribution:
        if isinstance(item, ChoicesConfig):
            return CategoricalDistribution([json.dumps(choice, sort_keys=True) for choice in item.choices])
        if item.integer:
            return IntDistribution(int(item.low), int(item.high), log=item.log)
        return FloatDistribution(item.low, item.high, log=item.log)

    return {name: form(item) for name, item in parameters.items()}


def _params(parameters: Parameters, values: Values) -> dict[str, Any]:
    return {
        name: json.dumps(values[name], sort_keys=True) if isinstance(item, ChoicesConfig) else values[name]
        for name, item in parameters.items()
    }


def _values(parameters: Parameters, params: Mapping[str, Any]) -> Values:
    found: Values = {}
    for name, item in parameters.items():
        value = params[name]
        if isinstance(item, ChoicesConfig):
            value = json.loads(value)
        elif not item.integer:
            value = min(max(float(f"{value:.{DIGITS}g}"), item.low), item.high)
        found[name] = value
    return found

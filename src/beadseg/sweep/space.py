"""The space of a sweep: its values, whether it fits the configuration, and which trials come next.

A grid, random values and a Sobol sequence need no results; Optuna's TPE learns from them.
"""

from __future__ import annotations

import itertools
import json
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import qmc

from beadseg.config.sweep import ChoicesConfig, GridConfig, RangeConfig, SobolConfig, SweepConfig
from beadseg.errors import ConfigError, MachineError
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import optuna

    from beadseg.config import TrainConfig

    Parameters = Mapping[str, ChoicesConfig | RangeConfig]

Values = dict[str, Any]
"""One value per parameter, by its dotted name."""

DIGITS = 6
"""Significant digits of drawn numbers, so that a person can read and type them."""

SHARES = (0.0, 1.0, 0.37)
"""Where a range is tried: its bounds, and a value between them that is not a whole number by chance."""
MOST_KINDS = 64
"""Combinations of kinds that all other values are tried with."""

MOST_TRIALS = 10000
"""A grid with more is refused: PBS takes no larger arrays by default, and nobody has the time."""

STARTUP = 10
"""With fewer results TPE draws at random."""
PATIENCE = 50
"""So often in a row TPE may propose what is known; then random trials are taken."""

Told = tuple["Values", float]
"""Values of a trial, and how good it was: more is better."""


def value_at(parameter: ChoicesConfig | RangeConfig, share: float) -> Any:
    """Return the value of a parameter at `share`, 0 to 1, of its way from the first to the last."""
    if isinstance(parameter, ChoicesConfig):
        return parameter.choices[min(int(share * len(parameter.choices)), len(parameter.choices) - 1)]
    low, high = parameter.low, parameter.high
    if parameter.integer:  # every whole number gets an equal part, on the scale that is asked for
        low, high = low - 0.5, high + 0.5
    if parameter.log:
        value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        value = low + share * (high - low)
    if parameter.integer:
        return int(min(max(round(value), parameter.low), parameter.high))
    return min(max(float(f"{value:.{DIGITS}g}"), low), high)


def values_at(parameters: Parameters, shares: Sequence[float]) -> Values:
    """Return the values at one share per parameter."""
    return {name: value_at(item, share) for (name, item), share in zip(parameters.items(), shares, strict=True)}


def grid_values(parameter: ChoicesConfig | RangeConfig) -> tuple[Any, ...]:
    """Return the values that a parameter has in a grid."""
    if isinstance(parameter, ChoicesConfig):
        return parameter.choices
    count = parameter.points or 2
    plain = parameter.model_copy(update={"integer": False})
    found = [value_at(plain, at / (count - 1)) for at in range(count)]
    return tuple(dict.fromkeys(round(value) for value in found)) if parameter.integer else tuple(found)


def combinations(parameters: Parameters) -> float:
    """Return how many different trials there can be; infinity where a parameter is a real number."""
    total = 1.0
    for item in parameters.values():
        if isinstance(item, ChoicesConfig):
            total *= len(item.choices)
        else:
            total *= item.high - item.low + 1 if item.integer else math.inf
    return total


def shown(value: Any) -> str:
    """Return a value for a person: of a whole part its kind and its fields."""
    if isinstance(value, dict):
        kind = [str(value["kind"])] if "kind" in value else []
        return ", ".join([*kind, *(f"{name} {shown(each)}" for name, each in value.items() if name != "kind")])
    return value if isinstance(value, str) else json.dumps(value)


def values_text(values: Values) -> str:
    """Return the values of a trial in one line."""
    return "; ".join(f"{name} = {shown(value)}" for name, value in values.items())


def key_of(values: Values) -> str:
    """Return what two trials with the same values have in common."""
    return json.dumps(values, sort_keys=True)


def assignments(values: Values) -> list[str]:
    """Return values as ``--set`` takes them: a kind before the fields that it has, wholes before their parts."""
    ordered = sorted(values, key=lambda name: (name.count(".") - name.endswith(".kind"), not name.endswith(".kind")))
    return [f"{name}={json.dumps(values[name])}" for name in ordered]


def configured(config: TrainConfig, space: SweepConfig, values: Values) -> TrainConfig:
    """Return the configuration of a trial.

    Raises
    ------
    ConfigError
        It is none that can be trained.
    """
    changed = config.with_overrides(assignments(values))
    return (
        changed if space.metric is None else changed.replace(stop={**changed.stop.model_dump(), "metric": space.metric})
    )


def check(space: SweepConfig, config: TrainConfig, where: Path | str) -> None:
    """Raise `ConfigError` for a parameter that is not a field, or a value that the field cannot have.

    Every value is tried alone, and fields of a part that comes in kinds with every kind that the sweep has.
    """
    for name, parameter in space.parameters.items():
        _refuse_unfair(name, where)
        place = f"{where}: parameters.{name}"
        for value in _samples(parameter):
            for kinds in _kinds(space, name):
                _try(space, config, {**kinds, name: value}, place)


def _refuse_unfair(name: str, where: Path | str) -> None:
    """Raise for what would make the scores of two trials scores of different things."""
    reasons = {
        "split": "the trials would be scored on different samples",
        "stop.metric": "the trials would be ranked by different scores: set `metric` of the sweep",
        "based_on": "it changes nothing",
    }
    for field, reason in reasons.items():
        if name == field or name.startswith(f"{field}."):
            raise ConfigError(f"Cannot be swept: {reason}.", f"{where}: parameters.{name}", "Leave it out.")


def _samples(parameter: ChoicesConfig | RangeConfig) -> list[Any]:
    if isinstance(parameter, ChoicesConfig):
        return list(parameter.choices)
    return [value_at(parameter, share) for share in SHARES]


def _kinds(space: SweepConfig, name: str) -> Iterator[Values]:
    """Yield the combinations of kinds, or whole parts, that a field may meet: those that its name begins with."""
    above = [
        other for other in space.parameters
        if other != name and name.startswith(other.removesuffix("kind") if other.endswith(".kind") else f"{other}.")
    ]  # fmt: skip
    sides = [_samples(space.parameters[other]) for other in above]
    for values in itertools.islice(itertools.product(*sides), MOST_KINDS):
        yield dict(zip(above, values, strict=True))


def _try(space: SweepConfig, config: TrainConfig, values: Values, place: str) -> None:
    try:
        configured(config, space, values)
    except ConfigError as error:
        together = "" if len(values) == 1 else f" (with {', '.join(f'{k}={v}' for k, v in list(values.items())[:-1])})"
        known = f"{error.remedy} " if error.remedy and error.remedy.startswith("Known") else ""
        whole = "For whole numbers set integer: true. " if "valid integer" in error.what else ""
        raise ConfigError(f"{error.what}{together}", place, f"{known}{whole}Nothing was planned.") from None


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

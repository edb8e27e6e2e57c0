from __future__ import annotations

from beadseg.training.diagnosis import criteria


def history(scores: list[float], gap: float = 0.05) -> list[dict]:
    return [
        {"epoch": i, "val_jaccard_images": score, "train_jaccard_images": score + gap, "train_loss": 0.1}
        for i, score in enumerate(scores, start=1)
    ]


def verdicts(rows: list[dict], epochs: int, *, early: bool = False) -> dict[str, str]:
    return {item.name: item.verdict for item in criteria(rows, epochs, stopped_early=early)}


def test_a_good_long_run_meets_everything():
    scores = [min(0.65, 0.32 + 0.03 * i) for i in range(45)]
    found = verdicts(history(scores), 100, early=True)
    assert set(found.values()) == {"met"}


def test_the_laboratorys_collapsed_run_meets_nothing_that_matters():
    found = verdicts(history([0.1427, 0.1089, 0.0512, 0.0023, *[1e-12] * 96]), 100)
    assert found["no validation collapse"] == "not met"
    assert found["validation Jaccard above 0.30 by epoch 10"] == "not met"
    assert found["validation Jaccard above 0.50 by epoch 40"] == "not met"
    assert found["epoch 40: 0.60-0.70"] == "not met"
    assert found["early stopping before epoch 100"] == "not met"


def test_what_a_short_run_cannot_say_is_not_applicable_with_the_reason():
    items = {item.name: item for item in criteria(history([0.2, 0.25, 0.28]), 3, stopped_early=False)}
    late = items["validation Jaccard above 0.50 by epoch 40"]
    assert (late.verdict, late.measured) == ("not applicable", None)
    assert "ended at epoch 3" in late.note
    assert items["no wild oscillations (sigma below 0.05 over the last 10 epochs)"].verdict == "not applicable"


def test_a_score_reached_early_counts_also_in_a_short_run():
    assert verdicts(history([0.4, 0.6]), 2)["validation Jaccard above 0.50 by epoch 40"] == "met"


def test_gap_limits_of_both_lists():
    found = verdicts(history([0.6] * 12, gap=0.12), 12)
    assert found["train-validation gap below 0.15"] == "met"
    assert found["validation within 0.10 of training"] == "not met"


def test_without_validation_images_nothing_applies():
    (only,) = criteria([{"epoch": 1, "train_loss": 0.2}], 1, stopped_early=False)
    assert only.verdict == "not applicable"


def test_a_steady_rise_is_no_oscillation():
    name = "no wild oscillations (sigma below 0.05 over the last 10 epochs)"
    assert verdicts(history([0.1 + 0.05 * i for i in range(12)]), 12)[name] == "met"
    assert verdicts(history([0.4, 0.6] * 6), 12)[name] == "not met"


def test_a_run_that_has_not_learned_is_not_praised_for_being_steady():
    found = {item.name: item for item in criteria(history([0.0] * 12), 12, stopped_early=False)}
    for name in ("train-validation gap below 0.15", "validation within 0.10 of training",
                 "stable convergence, smooth curve",
                 "no wild oscillations (sigma below 0.05 over the last 10 epochs)"):  # fmt: skip
        assert found[name].verdict == "not applicable"
        assert "has not learned" in found[name].note

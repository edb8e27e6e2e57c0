from __future__ import annotations

from beadseg.annotation.suggest import Uncertainty, rank


def image(unsure: float, *features: float) -> Uncertainty:
    return Uncertainty(unsure, unsure, unsure, 10.0, features or (0.0,))


def test_the_most_unsure_comes_first() -> None:
    order = rank([image(0.1, 0), image(0.9, 5), image(0.5, -5)])
    assert [one.index for one in order] == [1, 2, 0]
    assert order[0].novelty == 1.0


def test_a_copy_of_what_was_suggested_comes_last_however_unsure_the_model_is() -> None:
    order = rank([image(0.9, 0, 0), image(0.89, 0, 0), image(0.5, 3, 1), image(0.2, -2, 2)])
    assert [one.index for one in order] == [0, 2, 3, 1]
    assert order[-1].novelty == 0.0


def test_entropy_decides_where_the_model_agrees_with_itself() -> None:
    images = [Uncertainty(0.0, 0.1, 0.0, 9.0, (1.0,)), Uncertainty(0.0, 0.9, 0.0, 9.0, (2.0,))]
    assert [one.index for one in rank(images)] == [1, 0]
    images.append(Uncertainty(0.2, 0.0, 0.0, 9.0, (3.0,)))
    assert rank(images)[0].index == 2


def test_few_and_equal_images_are_no_trouble() -> None:
    assert rank([]) == []
    assert [one.index for one in rank([image(0.3)])] == [0]
    assert sorted(one.index for one in rank([image(0.3), image(0.3), image(0.3)])) == [0, 1, 2]

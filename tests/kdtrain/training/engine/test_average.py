"""The moving average of weights: its formula, its place in the module, its state."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdtrain.errors import UsageError
from kdtrain.training.engine.average import WeightAverage


def _walk(decay: float, steps: int) -> tuple[nn.Linear, WeightAverage, list[float]]:
    """A single float64 weight that is 0, then 1, 4, 9, ..., and what its average should be after each step."""
    module = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(module.weight)
    average, expected = WeightAverage(module, decay), [0.0]
    for step in range(1, steps + 1):
        nn.init.constant_(module.weight, step**2)
        average.update(step)
        d = min(decay, (1 + step) / (10 + step))
        expected.append(d * expected[-1] + (1 - d) * step**2)
    return module, average, expected


@pytest.mark.parametrize("decay", [0.1, 0.5, 0.999])
def test_the_average_against_its_formula(decay: float) -> None:
    """After 20 updates it is what the recursion gives in float64: d is 2/11 at first, and the decay in the end."""
    _, average, expected = _walk(decay, 20)
    assert abs(average.state()["weight"].item() - expected[-1]) < 1e-12


def test_the_average_stands_in_and_leaves() -> None:
    """Inside, the module has the average; afterwards, and after an error inside, its own weights again."""
    module, average, expected = _walk(0.9, 3)
    with average.in_place():
        assert module.weight.item() == expected[-1]
    assert module.weight.item() == 9
    with pytest.raises(KeyError), average.in_place():
        raise KeyError
    assert module.weight.item() == 9


def test_frozen_weights_have_no_average() -> None:
    """What is not trained is left as it is."""
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(requires_grad=False)
    assert WeightAverage(module, 0.9).state().keys() == {"weight"}


def test_a_state_comes_back_and_another_models_does_not() -> None:
    """A walk that goes on from a state ends as the one that was never interrupted."""
    module, average, _ = _walk(0.9, 3)
    again = WeightAverage(module, 0.9)
    again.load(average.state())
    nn.init.constant_(module.weight, 16)
    average.update(4)
    again.update(4)
    assert torch.equal(again.state()["weight"], average.state()["weight"])
    with pytest.raises(UsageError, match="another model"):
        again.load({"bias": torch.zeros(1)})

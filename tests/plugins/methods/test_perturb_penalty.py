"""The search for the smallest constant that yields adversarials."""

from __future__ import annotations

import torch

from robreport_plugins.methods.perturb_penalty import Constants, Progress


def test_the_search_closes_in_on_each_threshold_from_either_side():
    threshold = torch.tensor([1e-6, 0.3, 1.0, 7.0, 1e5])
    constants = Constants(torch.ones(5))
    smallest = torch.full((5,), torch.inf)
    for _ in range(30):
        found = constants.value >= threshold
        smallest = torch.where(found, torch.minimum(smallest, constants.value), smallest)
        constants.narrow(found)
    torch.testing.assert_close(smallest, threshold, rtol=1e-3, atol=0.0)
    assert (smallest >= threshold).all()


def test_constants_stay_positive_and_finite_whatever_happens():
    constants = Constants(torch.tensor([0.0, torch.inf, 1.0, 1.0]))
    for _ in range(100):
        constants.narrow(torch.tensor([True, False, True, False]))
    assert torch.isfinite(constants.value).all()
    assert (constants.value > 0).all()


def test_progress_is_asked_of_the_best_loss_since_the_last_time():
    progress = Progress(torch.zeros(3))
    progress.note(torch.tensor([1.0, 1.0, 1.0]))
    assert progress.going_on().all()
    progress.note(torch.tensor([0.5, 2.0, 0.99999]))
    progress.note(torch.tensor([3.0, 1.5, 1.0]))
    better = progress.going_on()
    assert better.tolist() == [True, False, False]
    progress.keep(better)
    progress.note(torch.tensor([0.4]))
    assert progress.going_on().tolist() == [True]

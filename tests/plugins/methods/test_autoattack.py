"""AutoAttack is the union of its parts, and says which part broke what."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from robreport import Norm
from robreport.testing import LinearOracle
from robreport_plugins.methods.autoattack import UNBROKEN, autoattack
from robreport_plugins.methods.geometry import norms
from robreport_plugins.methods.perturb_apgd import apgd, apgd_targeted
from robreport_plugins.methods.perturb_fab import fab
from robreport_plugins.methods.perturb_pgd import pgd
from robreport_plugins.methods.perturb_square import square

CONVEX = (Norm.L1, Norm.L2, Norm.Linf)
D = 12
SMALL = {"steps": 6, "queries": 30}


def seed(number=0):
    return torch.Generator().manual_seed(number)


class Masked(nn.Module):
    """Three classes behind a quantised input for some, a saturated output for others."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(D, 24), nn.Tanh(), nn.Linear(24, 3)).double()

    def forward(self, x):
        stairs = (x * 12).round() / 12
        hidden = (x[:, :1] > 0.7) & (x[:, 1:2] > 0)
        logits = self.net(torch.where(hidden, stairs + 1e-9 * x, x))
        return torch.where((x[:, :1] < 0.3), 300 * logits, logits)


@pytest.fixture(scope="module")
def case():
    module = Masked()
    x = torch.rand(60, D, generator=seed(), dtype=torch.float64)
    y = module(x).argmax(1)
    y[:3] = (y[:3] + 1) % 3
    return module, x, y


@pytest.mark.parametrize("norm", CONVEX)
def test_it_breaks_what_any_of_its_attacks_breaks_alone(case, norm):
    module, x, y = case
    eps = {Norm.L1: 2.0, Norm.L2: 0.7, Norm.Linf: 0.2}[norm]
    given = {"norm": norm, "eps": eps, "bounds": (0.0, 1.0)}
    all_of_them = autoattack(module, x, y, generator=seed(5), **SMALL, **given)
    seeds = torch.randint(2**62, (4,), generator=seed(5)).tolist()
    at_work = [seed(number) for number in seeds]
    alone = [
        apgd(module, x, y, steps=6, generator=at_work[0], **given),
        apgd_targeted(module, x, y, steps=6, generator=at_work[1], **given),
        fab(module, x, y, norm=norm, bounds=(0.0, 1.0), steps=6, within=eps, generator=at_work[2]),
        square(module, x, y, queries=30, generator=at_work[3], **given),
    ]
    claimed = torch.stack([module(x).argmax(1) != y, *(attempt.claimed for attempt in alone)])
    first = torch.where(claimed.any(0), claimed.int().argmax(0), UNBROKEN)
    assert torch.equal(all_of_them.broken_by, first)
    assert torch.equal(all_of_them.attempt.claimed, claimed.any(0))
    other = pgd(module, x, y, generator=seed(1), **given)
    assert int(all_of_them.attempt.claimed.sum()) >= int(other.claimed.sum())

    found = all_of_them.attempt
    assert torch.equal(module(found.x_adv).argmax(1) != y, found.claimed)
    assert float(norms(found.x_adv - x, norm)[found.claimed].max()) <= eps * (1 + 1e-6)
    names = [stage.name for stage in all_of_them.stages]
    assert names == ["unperturbed", "apgd-ce", "apgd-t", "fab-t", "square"]
    for place, stage in enumerate(all_of_them.stages):
        assert stage.broken == int((all_of_them.broken_by == place).sum())
        earlier = (all_of_them.broken_by >= 0) & (all_of_them.broken_by < place)
        assert stage.attacked == len(x) - int(earlier.sum())
    assert all_of_them.stages[0].broken == 3
    assert 0 < int(found.claimed.sum()) < len(x)
    assert sum(stage.gradients for stage in all_of_them.stages) == found.gradients
    assert sum(stage.queries for stage in all_of_them.stages) == found.queries


def test_leaving_early_changes_the_work_and_nothing_else(case):
    module, x, y = case
    given = {"norm": Norm.Linf, "eps": 0.2, "bounds": (0.0, 1.0), **SMALL}
    early = autoattack(module, x, y, generator=seed(), **given)
    late = autoattack(module, x, y, generator=seed(), early_stop=False, **given)
    again = autoattack(module, x, y, generator=seed(), **given)
    assert torch.equal(early.broken_by, late.broken_by)
    assert early.attempt.gradients < late.attempt.gradients
    assert torch.equal(early.attempt.x_adv, again.attempt.x_adv)


def test_what_is_certified_is_left_out(case):
    module, x, y = case
    given = {"norm": Norm.Linf, "eps": 0.2, "bounds": (0.0, 1.0), **SMALL}
    everyone = autoattack(module, x, y, generator=seed(), **given)
    among = torch.arange(len(x)) % 2 == 0
    some = autoattack(module, x, y, generator=seed(), among=among, **given)
    assert torch.equal(some.broken_by[among], everyone.broken_by[among])
    assert (some.broken_by[~among] == UNBROKEN).all()
    assert torch.equal(some.attempt.x_adv[~among], x[~among])
    assert some.stages[0].attacked == 30
    nobody = autoattack(module, x, y, among=among & ~among, **given)
    assert (nobody.attempt.gradients, nobody.attempt.queries) == (0, 0)


@pytest.mark.parametrize("version", ["standard", "random"])
def test_two_classes_and_the_optimum(version):
    oracle = LinearOracle.seeded(3, input_shape=(D,), classes=2)
    x = np.random.default_rng(3).uniform(size=(40, D)).astype(np.float32)
    y = oracle.predict(x)
    for norm in CONVEX:
        exact = oracle.min_norm(x, y, norm, (0.0, 1.0))
        eps = float(np.median(exact))
        found = autoattack(
            oracle.torch_module(), torch.from_numpy(x), torch.from_numpy(y), norm=norm, eps=eps,
            bounds=(0.0, 1.0), version=version, steps=12, queries=10, eot=2, generator=seed(),
        )  # fmt: skip
        claimed = found.attempt.claimed.numpy()
        assert not (claimed & (exact > eps * (1 + 1e-6))).any()
        assert claimed[exact <= 0.99 * eps].all()


def test_the_random_version_averages_over_draws(case):
    module, x, _ = case
    found = autoattack(
        module, x[:5], module(x[:5]).argmax(1), norm=Norm.L2, eps=1e-9, version="random",
        steps=4, eot=3, restarts=2, generator=seed(),
    )  # fmt: skip
    assert [stage.name for stage in found.stages] == ["unperturbed", "apgd-ce", "apgd-dlr"]
    assert found.attempt.gradients == 5 * 4 * 3 * 2 * 2
    assert found.attempt.queries == 5 + 5 * 3 * 2 * 2


def test_another_version_is_refused(case):
    with pytest.raises(ValueError, match="version must be standard or random"):
        autoattack(*case, norm=Norm.L2, eps=1.0, version="plus")

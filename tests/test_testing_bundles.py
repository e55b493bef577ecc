"""`make_bundle` gives what is asked, `guarded` no more than that."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from robreport import Needs, NotOffered
from robreport.inputs import check_against
from robreport.kept import arrays_digest
from robreport.loading import LoadedData
from robreport.testing import LinearOracle, PredictionsOnly, guarded, make_bundle
from robreport.testing.bundles import changed
from robreport.testing.watch import bundle_state, changes

N = Needs
SINGLE = list(Needs)
TOGETHER = (
    N.LABELS | N.PROBABILITIES | N.LOGITS | N.GRADIENTS | N.PARAMETERS | N.REFIT | N.MEMBERS
    | N.OOD | N.SHIFT | N.CLASSIFICATION
)  # fmt: skip


@pytest.mark.parametrize("need", [N.NONE, *SINGLE], ids=lambda n: "_".join(n.words) or "none")
@pytest.mark.parametrize("layout", ["table", "image"])
def test_every_need_is_met_and_usable(need: Needs, layout: Any) -> None:
    bundle = make_bundle(need, layout=layout)
    assert need in bundle.offers
    model, test = bundle.model, bundle.split("test")
    predicted = model.predict(test.x)
    assert predicted.shape == (60,)
    assert predicted.dtype == (np.float64 if N.REGRESSION in need else np.int64)
    k = model.n_outputs
    if N.PROBABILITIES in model.offers:
        np.testing.assert_allclose(model.predict_proba(test.x).sum(axis=1), 1)
    if N.LOGITS in model.offers:
        assert model.logits(test.x).shape == (60, k)
    if N.GRADIENTS in model.offers:
        torch = pytest.importorskip("torch")
        x = torch.from_numpy(test.x.astype(np.float32)).requires_grad_()
        out = model.torch_module()(x)
        assert out.shape == (60, k)
        out.sum().backward()
        assert x.grad.abs().sum() > 0
    if N.REFIT in need:
        train = bundle.split("train")
        again = model.refit(train.x, train.labels, 0)
        np.testing.assert_allclose(again.predict(test.x), predicted)
    if N.TREES in need:
        _follow(model.trees(), test.x, model)


def _follow(ensemble: Any, x: Any, model: Any) -> None:
    """Walk the arrays by their documentation and get the model's probabilities."""
    assert (ensemble.comparison, ensemble.aggregation) == ("<=", "mean")
    for row in x[:5]:
        values = []
        for tree in ensemble.trees:
            node = 0
            while tree.feature[node] >= 0:
                low = row.reshape(-1)[tree.feature[node]] <= tree.threshold[node]
                node = (tree.left if low else tree.right)[node]
            values.append(tree.value[node])
        np.testing.assert_allclose(np.mean(values, axis=0), model.predict_proba(row[None])[0])


def test_all_that_goes_together_is_offered_together() -> None:
    bundle = make_bundle(TOGETHER)
    assert TOGETHER in bundle.offers
    assert list(bundle.splits) == [
        "train", "test", "calibration", "ood.first", "ood.second", "shift.first", "shift.second",
    ]  # fmt: skip
    assert set(bundle.digests) == {"model", *bundle.splits}


@pytest.mark.parametrize("pair", list(combinations(SINGLE, 2)), ids=lambda p: "-".join(
    w for n in p for w in n.words))  # fmt: skip
def test_any_two_needs_are_met_or_refused_in_a_sentence(pair: tuple[Needs, Needs]) -> None:
    needs = pair[0] | pair[1]
    impossible = (
        N.REGRESSION in needs and needs & (N.CLASSIFICATION | N.PROBABILITIES | N.LOGITS)
    ) or (N.TREES in needs and needs & (N.LOGITS | N.GRADIENTS | N.PARAMETERS))
    if impossible:
        with pytest.raises(ValueError, match=r"no bundle offers regression|does not offer"):
            make_bundle(needs)
    else:
        assert needs in make_bundle(needs).offers


@pytest.mark.parametrize("model", ["linear", "network", "stumps", "predictions"])
@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("layout", ["table", "image"])
def test_models_have_learned(model: Any, task: Any, layout: Any) -> None:
    bundle = make_bundle(N.LABELS, model=model, task=task, layout=layout)
    test = bundle.split("test")
    predicted = bundle.model.predict(test.x)
    if task == "classification":
        assert 0.75 < (predicted == test.labels).mean() <= 1
    else:
        assert ((predicted - test.labels) ** 2).mean() < 0.9 * test.labels.var()


def test_default_models_err_now_and_then() -> None:
    """Where nothing goes wrong, metrics of errors have nothing to measure."""
    test = (bundle := make_bundle(N.LOGITS | N.LABELS)).split("test")
    assert 0.8 < (bundle.model.predict(test.x) == test.labels).mean() < 1
    assert isinstance(bundle.model, LinearOracle)
    assert isinstance(make_bundle().model, PredictionsOnly)


def test_seed_decides_and_nothing_else_does() -> None:
    one, two = make_bundle(TOGETHER, seed=3), make_bundle(N.LABELS, seed=3)
    np.testing.assert_array_equal(one.split("test").x, two.split("test").x)
    assert one.split("test").digest == two.split("test").digest
    assert one.split("test").digest != make_bundle(TOGETHER, seed=4).split("test").digest
    np.random.seed(1)
    again = make_bundle(TOGETHER, seed=3)
    assert changes(bundle_state(one), bundle_state(again)) == []
    network = [bundle_state(make_bundle(N.LOGITS, model="network", seed=s)) for s in (0, 0, 1)]
    assert changes(network[0], network[1]) == []
    assert "the model's 1.weight" in changes(network[0], network[2])


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("layout", ["table", "image"])
def test_data_is_what_an_audit_would_accept(task: Any, layout: Any) -> None:
    """The same checks that loaded data pass: shapes, classes, bounds, dtypes, digests."""
    bundle = make_bundle(N.LABELS | N.MEMBERS | N.OOD | N.SHIFT, task=task, layout=layout)
    for role, split in bundle.splits.items():
        loaded = LoadedData(x=split.x, y=split.y, layout=layout, source="", index=split.index)
        check_against(loaded, role, bundle.schema)
        assert split.x.dtype == (np.float32 if layout == "image" else np.float64)
        assert split.digest == arrays_digest(split.x, split.y, split.index)
        assert (split.y is None) == role.startswith("ood.")
        if split.y is not None:
            assert split.y.dtype == (np.int64 if task == "classification" else np.float64)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n": 1}, "at least 2"),
        ({"classes": 1}, "at least 2"),
        ({"layout": "audio"}, "layout must be"),
        ({"task": "ranking"}, "task must be"),
        ({"model": "forest"}, "model must be"),
        ({"splits": ["tset"]}, "role must be"),
        ({"splits": ["ood"]}, "role must be"),
        ({"needs": N.LOGITS, "task": "regression"}, "imply classification"),
        ({"needs": N.LOGITS, "model": "predictions"}, "predictions model does not offer logits"),
    ],
)
def test_impossible_wishes_are_refused(options: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_bundle(**options)


ASK = {
    N.PROBABILITIES: lambda m, x: m.predict_proba(x),
    N.LOGITS: lambda m, x: m.logits(x),
    N.GRADIENTS: lambda m, x: m.torch_module(),
    N.PARAMETERS: lambda m, x: m.initial_parameters(),
    N.REFIT: lambda m, x: m.refit(x, np.zeros(len(x), dtype=np.int64), 0),
}


@pytest.mark.parametrize("need", ASK, ids=lambda n: n.words[0])
def test_guard_lets_through_what_is_declared_and_nothing_else(need: Needs) -> None:
    bundle = make_bundle(TOGETHER)
    x = bundle.split("test").x
    # a module shows gradients and parameters alike, so either of them opens it
    inside = N.GRADIENTS | N.PARAMETERS
    allowed, refused = guarded(bundle, need), guarded(bundle, TOGETHER & ~need & ~inside)
    ASK[need](allowed.model, x)
    assert allowed.model.used == need  # type: ignore[attr-defined]
    with pytest.raises(NotOffered, match=f"linear: .*Needs.*{need.name}"):
        ASK[need](refused.model, x)
    assert allowed.offers == need
    assert not hasattr(allowed.model, "weights")


def test_guard_narrows_splits_and_labels() -> None:
    bundle = make_bundle(TOGETHER)
    narrow = guarded(bundle, N.OOD, ("test", "ood.*", "train?"))
    assert list(narrow.splits) == ["train", "test", "ood.first", "ood.second"]
    with pytest.raises(NotOffered, match="split test: labels"):
        _ = narrow.split("test").labels
    with pytest.raises(NotOffered, match="split calibration"):
        narrow.split("calibration")
    data = guarded(bundle, N.NONE, ("test",), scope="data")
    with pytest.raises(NotOffered, match="scope 'data'"):
        data.model.predict(data.split("test").x)


def test_guard_guards_the_refitted_model_too() -> None:
    bundle = guarded(make_bundle(TOGETHER), N.REFIT | N.LABELS)
    train = bundle.split("train")
    again = bundle.model.refit(train.x, train.labels, 0)
    assert again.predict(train.x).shape == (60,)
    with pytest.raises(NotOffered):
        again.logits(train.x)


def test_changed_keeps_rows_and_relabels() -> None:
    bundle = make_bundle(N.LABELS | N.MEMBERS)
    few = changed(bundle, rows=slice(0, 2), relabel=lambda y: y * 0)
    assert [len(split) for split in few.splits.values()] == [2, 2, 2]
    assert few.split("test").labels.tolist() == [0, 0]
    assert bundle.split("test").labels.any()
    assert few.digests["test"] != bundle.digests["test"]

"""Exact torch twins: held against scikit-learn's own predictions, for every estimator."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import linear_model, svm
from sklearn.datasets import make_classification, make_regression
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier

from robreport_plugins.loaders.frame_input import FrameInput
from robreport_plugins.loaders.twins import Affine, NoTwin
from robreport_plugins.loaders.verified_twin import verified_twin

D = 6


def _frame(order: Any = None) -> FrameInput:
    return FrameInput(width=D, order=np.arange(D) if order is None else order)


def _classes(k: int) -> tuple[Any, Any, Any]:
    x, y = make_classification(
        300, D, n_informative=5, n_redundant=0, n_classes=k, class_sep=0.8, random_state=k
    )
    return x[:200], y[:200], x[200:]


def _fit(estimator: Any, x: Any, y: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", FutureWarning)  # defaults that will change
        return estimator.fit(x, y)


def _run(twin: torch.nn.Module, x: Any, dtype: torch.dtype = torch.float64) -> Any:
    with torch.inference_mode():
        return twin(torch.tensor(x, dtype=dtype)).double().numpy()


CLASSIFIERS = {
    "logistic": linear_model.LogisticRegression(),
    "logistic without intercept": linear_model.LogisticRegression(fit_intercept=False),
    "logistic cv": linear_model.LogisticRegressionCV(Cs=2, cv=2),
    "linear svc": svm.LinearSVC(),
    "linear svc, crammer-singer": svm.LinearSVC(multi_class="crammer_singer"),
    "sgd hinge": linear_model.SGDClassifier(random_state=0, max_iter=20),
    "sgd log": linear_model.SGDClassifier(loss="log_loss", random_state=0, max_iter=20, alpha=0.1),
    "sgd huber": linear_model.SGDClassifier(loss="modified_huber", random_state=0, max_iter=20),
    "ridge": linear_model.RidgeClassifier(),
    "perceptron": linear_model.Perceptron(random_state=0),
    "one vs rest": OneVsRestClassifier(linear_model.LogisticRegression()),
    "one vs rest svc": OneVsRestClassifier(svm.LinearSVC()),
    "search": GridSearchCV(linear_model.LogisticRegression(), {"C": [0.1, 1]}, cv=2),
    **{
        f"mlp {name}": MLPClassifier((7, 5), activation=name, max_iter=15, random_state=0)
        for name in ("identity", "logistic", "tanh", "relu")
    },
}
MARGINS = {
    "linear svc", "linear svc, crammer-singer", "sgd hinge", "sgd huber", "ridge", "perceptron",
    "one vs rest svc",
}  # fmt: skip


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier(name: str, k: int) -> None:
    train, y, x = _classes(k)
    estimator = _fit(CLASSIFIERS[name], train, y)
    twin, kind = verified_twin(estimator, _frame())
    assert kind == ("margins" if name in MARGINS else "log-probabilities")
    for rows in (x, x * 3):
        logits = _run(twin, rows)
        assert logits.shape == (len(rows), k)
        np.testing.assert_array_equal(logits.argmax(1), estimator.predict(rows))
        np.testing.assert_array_equal(
            _run(twin, rows, torch.float32).argmax(1), estimator.predict(rows)
        )
        if kind == "log-probabilities":
            softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
            np.testing.assert_allclose(softmax, estimator.predict_proba(rows), atol=1e-12)
            single = torch.tensor(_run(twin, rows, torch.float32)).softmax(1).numpy()
            np.testing.assert_allclose(single, estimator.predict_proba(rows), atol=2e-6)
        else:
            decision = estimator.decision_function(rows)
            np.testing.assert_allclose(
                logits if k > 2 else logits[:, 1], decision, rtol=1e-9, atol=1e-9
            )


REGRESSORS = {
    "linear": linear_model.LinearRegression(),
    "ridge": linear_model.Ridge(),
    "lasso": linear_model.Lasso(),
    "elastic net": linear_model.ElasticNet(),
    "bayesian": linear_model.BayesianRidge(),
    "huber": linear_model.HuberRegressor(),
    "svr": svm.LinearSVR(random_state=0),
    **{
        f"mlp {name}": MLPRegressor(
            hidden_layer_sizes=(7,), activation=name, max_iter=15, random_state=0
        )
        for name in ("identity", "logistic", "tanh", "relu")
    },
    "mlp poisson": MLPRegressor(
        loss="poisson", hidden_layer_sizes=(4,), max_iter=15, random_state=0
    ),
}


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressor(name: str) -> None:
    x, y = make_regression(150, D, noise=5, random_state=0)
    y = np.abs(y) / 50 if "poisson" in name else y / 50
    estimator = _fit(REGRESSORS[name], x, y)
    twin, kind = verified_twin(estimator, _frame())
    assert kind == "values"
    np.testing.assert_allclose(_run(twin, x)[:, 0], estimator.predict(x), rtol=1e-9, atol=1e-9)


PREPROCESSING = {
    "standard": [StandardScaler()],
    "standard, no mean": [StandardScaler(with_mean=False)],
    "standard, no std": [StandardScaler(with_std=False)],
    "min max": [MinMaxScaler((-1, 2))],
    "min max, clipped": [MinMaxScaler(clip=True)],
    "max abs": [MaxAbsScaler()],
    "robust": [RobustScaler()],
    "robust, bare": [RobustScaler(with_centering=False, with_scaling=False)],
    "pca": [PCA(4)],
    "pca, whitened": [PCA(4, whiten=True)],
    "l1": [Normalizer("l1")],
    "l2": [Normalizer("l2")],
    "max": [Normalizer("max")],
    "nested": [Pipeline([("a", StandardScaler()), ("b", "passthrough")]), PCA(3)],
    "nothing": ["passthrough"],
}


@pytest.mark.parametrize("name", PREPROCESSING)
def test_preprocessing(name: str) -> None:
    train, y, x = _classes(3)
    steps = [*PREPROCESSING[name], linear_model.LogisticRegression()]
    estimator = make_pipeline(*steps).fit(train, y)
    twin, kind = verified_twin(estimator, _frame())
    assert kind == "log-probabilities"
    rows = np.concatenate([x, np.zeros((1, D)), 5 * x])
    np.testing.assert_allclose(
        np.exp(torch.tensor(_run(twin, rows)).log_softmax(1).numpy()),
        estimator.predict_proba(rows),
        atol=1e-12,
    )
    # What was fitted before the classifier is no parameter of the classifier.
    n_in = estimator[-1].n_features_in_
    assert sum(p.numel() for p in twin.parameters()) == 3 * n_in + 3


def test_gradient_is_exact() -> None:
    """For a linear model the gradient of a logit is its weights over the scaler's deviation."""
    train, y, x = _classes(3)
    estimator = make_pipeline(StandardScaler(), linear_model.LogisticRegression()).fit(train, y)
    twin, _ = verified_twin(estimator, _frame())
    points = torch.tensor(x[:3], requires_grad=True)
    expected = estimator[-1].coef_ / estimator[0].scale_
    for i in range(3):
        (slope,) = torch.autograd.grad(twin(points)[:, i].sum(), points)
        np.testing.assert_allclose(slope.numpy(), np.tile(expected[i], (3, 1)), rtol=1e-10)


def test_columns_in_another_order() -> None:
    train, y, x = _classes(2)
    order = np.array([3, 1, 0, 5, 4, 2])
    estimator = linear_model.LogisticRegression().fit(train[:, order], y)
    twin, _ = verified_twin(estimator, _frame(order))
    np.testing.assert_array_equal(_run(twin, x).argmax(1), estimator.predict(x[:, order]))


def test_no_twin() -> None:
    train, y, _ = _classes(3)
    cases = {
        "DecisionTreeClassifier": DecisionTreeClassifier(),
        "PolynomialFeatures": make_pipeline(PolynomialFeatures(), linear_model.RidgeClassifier()),
        "of other than linear": OneVsRestClassifier(DecisionTreeClassifier()),
    }
    for words, estimator in cases.items():
        with pytest.raises(NoTwin, match=words):
            verified_twin(estimator.fit(train, y), _frame())
    two = linear_model.Ridge().fit(train, np.stack([y, y], axis=1))
    with pytest.raises(NoTwin, match="several targets"):
        verified_twin(two, _frame())


class _Contrary(linear_model.LogisticRegression):
    """A subclass that predicts something else."""

    def predict_proba(self, X: Any) -> Any:
        return super().predict_proba(X)[:, ::-1]


def test_a_subclass_gets_no_twin() -> None:
    train, y, _ = _classes(3)
    with pytest.raises(NoTwin, match="_Contrary"):
        verified_twin(_Contrary().fit(train, y), _frame())


def test_a_twin_that_disagrees_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a future scikit-learn computed its probabilities in another way."""
    train, y, _ = _classes(3)
    estimator = linear_model.LogisticRegression().fit(train, y)
    proba, decision = estimator.predict_proba, estimator.decision_function
    monkeypatch.setattr(estimator, "predict_proba", lambda x: proba(1.0001 * x))
    monkeypatch.setattr(estimator, "decision_function", lambda x: decision(1.0001 * x))
    with pytest.raises(NoTwin, match="do not follow the known formula"):
        verified_twin(estimator, _frame())


def test_precision_follows_the_input() -> None:
    layer = Affine(np.array([[1 / 3]]), np.array([0.1]))
    assert layer(torch.ones(1, 1)).dtype == torch.float32
    assert layer(torch.ones(1, 1, dtype=torch.float64)).item() == 1 / 3 + 0.1

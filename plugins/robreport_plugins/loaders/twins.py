"""Exact torch twins of fitted scikit-learn estimators, so that gradient attacks reach them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

Array = npt.NDArray[Any]


class NoTwin(Exception):
    """The estimator has no exact torch twin; the text says which part."""


class Affine(nn.Module):
    """``x @ weight.T + bias`` in the precision of x, from float64 weights.

    A predictor's weights are parameters (sharpness and norms are about them), a
    preprocessing's are buffers.
    """

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, weight: Array, bias: Array, *, trained: bool = True) -> None:
        super().__init__()
        tensors = {"weight": _double(weight), "bias": _double(bias)}
        for name, tensor in tensors.items():
            if trained:
                self.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(name, tensor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.weight.to(x.dtype), self.bias.to(x.dtype))


class Rescale(nn.Module):
    """``x * factor + shift`` per feature, or ``(x - shift) / factor``; then an optional clip."""

    shift: torch.Tensor
    factor: torch.Tensor

    def __init__(
        self,
        shift: Array,
        factor: Array,
        *,
        divide: bool,
        clip: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("shift", _double(shift))
        self.register_buffer("factor", _double(factor))
        self.divide = divide
        self.clip = clip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shift, factor = self.shift.to(x.dtype), self.factor.to(x.dtype)
        x = (x - shift) / factor if self.divide else x * factor + shift
        return x if self.clip is None else x.clamp(*self.clip)


class Impute(nn.Module):
    """Puts each column's own value where one is missing (NaN)."""

    fill: torch.Tensor

    def __init__(self, fill: Array) -> None:
        super().__init__()
        self.register_buffer("fill", _double(fill))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.where(torch.isnan(x), self.fill.to(x.dtype), x)


class RowNormalize(nn.Module):
    """Divides each row by its norm; a row of zeros stays."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        order = {"l1": 1.0, "l2": 2.0, "max": float("inf")}[self.norm]
        length = torch.linalg.vector_norm(x, ord=order, dim=1, keepdim=True)
        return x / torch.where(length == 0, torch.ones_like(length), length)


class Columns(nn.Module):
    """Picks columns in a given order."""

    order: torch.Tensor

    def __init__(self, order: Array) -> None:
        super().__init__()
        self.register_buffer("order", torch.from_numpy(np.array(order, dtype=np.int64)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, self.order]


class BinaryLogits(nn.Module):
    """Makes the two columns ``[0, factor * z]`` of one decision value z."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(z), self.factor * z], dim=1)


class Exp(nn.Module):
    """exp(x), the output of a Poisson regression."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.exp()


def _double(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64, order="C"))


_LINEAR_CLASSIFIERS = frozenset(
    {
        "LogisticRegression",
        "LogisticRegressionCV",
        "LinearSVC",
        "SGDClassifier",
        "RidgeClassifier",
        "RidgeClassifierCV",
        "Perceptron",
        "PassiveAggressiveClassifier",
    }
)
_LINEAR_REGRESSORS = frozenset(
    {
        "LinearRegression",
        "Ridge",
        "RidgeCV",
        "Lasso",
        "LassoCV",
        "ElasticNet",
        "ElasticNetCV",
        "SGDRegressor",
        "LinearSVR",
        "BayesianRidge",
        "ARDRegression",
        "HuberRegressor",
        "Lars",
        "LassoLars",
        "PassiveAggressiveRegressor",
    }
)
_SEARCHES = frozenset(
    {
        "GridSearchCV",
        "RandomizedSearchCV",
        "HalvingGridSearchCV",
        "HalvingRandomSearchCV",
    }
)
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}


def candidates(estimator: Any) -> list[tuple[nn.Sequential, str]]:
    """Return the possible twins of a fitted estimator, each with what its outputs are.

    A twin maps float ``(n, d)`` to logits ``(n, k)`` in the order of ``classes_``, or to values
    ``(n, 1)``. It computes in the precision of its input. Outputs are called

    - ``log-probabilities``: their softmax is ``predict_proba``;
    - ``margins``: the decision function (binary: ``[0, z]``), whose largest is ``predict``;
    - ``values``.

    There are several where versions of scikit-learn turn the same decision values into
    probabilities in different ways; the caller keeps the one that agrees with the estimator.

    Raises
    ------
    NoTwin
        A step or the predictor has none.
    """
    steps, last = unfold(estimator)
    before = [transformer_twin(step) for step in steps]
    return [(nn.Sequential(*before, *body), kind) for body, kind in predictor_twins(last)]


def unfold(estimator: Any) -> tuple[list[Any], Any]:
    """Return the fitted transformers before the predictor, and the predictor."""
    if _is(estimator, *_SEARCHES):
        return unfold(estimator.best_estimator_)
    if not _is(estimator, "Pipeline"):
        return [], estimator
    inner = [step for _, step in estimator.steps if step is not None and step != "passthrough"]
    if not inner:
        raise NoTwin("a pipeline without steps")
    before, last = unfold(inner[-1])
    return [*inner[:-1], *before], last


def _is(estimator: Any, *names: str) -> bool:
    """Whether the object is of exactly such a scikit-learn class: a subclass may differ."""
    kind = type(estimator)
    return kind.__name__ in names and kind.__module__.split(".")[0] == "sklearn"


def transformer_twin(step: Any) -> nn.Module:
    if _is(step, "Pipeline"):
        inner = [s for _, s in step.steps if s is not None and s != "passthrough"]
        return nn.Sequential(*map(transformer_twin, inner))
    if _is(step, "StandardScaler"):
        width = step.n_features_in_
        mean = step.mean_ if step.with_mean else np.zeros(width)
        return Rescale(mean, step.scale_ if step.with_std else np.ones(width), divide=True)
    if _is(step, "RobustScaler"):
        width = step.n_features_in_
        centre = step.center_ if step.with_centering else np.zeros(width)
        return Rescale(centre, step.scale_ if step.with_scaling else np.ones(width), divide=True)
    if _is(step, "MinMaxScaler"):
        clip = tuple(map(float, step.feature_range)) if step.clip else None
        return Rescale(step.min_, step.scale_, divide=False, clip=clip)  # type: ignore[arg-type]
    if _is(step, "MaxAbsScaler"):
        clip = (-1.0, 1.0) if getattr(step, "clip", False) else None
        return Rescale(np.zeros_like(step.scale_), step.scale_, divide=True, clip=clip)
    if _is(step, "Normalizer"):
        return RowNormalize(step.norm)
    if _is(step, "PCA"):
        weight = np.array(step.components_, dtype=np.float64)
        if step.whiten:
            scale = np.sqrt(step.explained_variance_)
            weight /= np.maximum(scale, np.finfo(scale.dtype).eps)[:, None]
        return Affine(weight, -weight @ step.mean_, trained=False)
    if _is(step, "SimpleImputer"):
        fill = np.asarray(step.statistics_)
        if step.add_indicator or fill.dtype.kind != "f" or not np.isfinite(fill).all():
            raise NoTwin("a SimpleImputer of other than numbers, or with more columns")
        if not (isinstance(step.missing_values, float) and np.isnan(step.missing_values)):
            raise NoTwin("a SimpleImputer of other values than NaN")
        return Impute(fill)
    raise NoTwin(f"the step {type(step).__name__}")


def predictor_twins(estimator: Any) -> list[tuple[list[nn.Module], str]]:
    if _is(estimator, *_LINEAR_CLASSIFIERS):
        return _classifier(estimator, *_coefficients(estimator))
    if _is(estimator, *_LINEAR_REGRESSORS):
        weight, bias = _coefficients(estimator)
        if len(weight) != 1:
            raise NoTwin("a regression of several targets")
        return [([Affine(weight, bias)], "values")]
    if _is(estimator, "MLPClassifier", "MLPRegressor"):
        return _perceptron(estimator)
    if _is(estimator, "OneVsRestClassifier"):
        return _one_vs_rest(estimator)
    raise NoTwin(type(estimator).__name__)


def _coefficients(estimator: Any) -> tuple[Array, Array]:
    weight = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
    bias = np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64), (len(weight),))
    return weight, bias


def _classifier(estimator: Any, weight: Array, bias: Array) -> list[tuple[list[nn.Module], str]]:
    """Return the readings of one-vs-rest or multinomial decision values."""
    affine = Affine(weight, bias)
    if len(weight) == 1:
        readings: list[nn.Module] = [BinaryLogits()]
        if _is(estimator, "LogisticRegression", "LogisticRegressionCV"):
            # Before scikit-learn 1.8 a binary multinomial model is the softmax of [-z, z].
            readings.append(BinaryLogits(2.0))
    else:
        # Softmax of the decision values, or each one's sigmoid divided by their sum.
        readings = [nn.Identity(), nn.LogSigmoid()]
    found: list[tuple[list[nn.Module], str]] = []
    if hasattr(estimator, "predict_proba"):
        found = [([affine, reading], "log-probabilities") for reading in readings]
    return [*found, ([affine, readings[0]], "margins")]


def _one_vs_rest(estimator: Any) -> list[tuple[list[nn.Module], str]]:
    parts = estimator.estimators_
    if not all(_is(part, *_LINEAR_CLASSIFIERS) for part in parts):
        raise NoTwin("OneVsRestClassifier of other than linear classifiers")
    stacked = [_coefficients(part) for part in parts]
    weight = np.concatenate([w for w, _ in stacked])
    bias = np.concatenate([b for _, b in stacked])
    return _classifier(estimator, weight, bias)


def _perceptron(estimator: Any) -> list[tuple[list[nn.Module], str]]:
    body: list[nn.Module] = []
    last = len(estimator.coefs_) - 1
    for i, (weight, bias) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        body.append(Affine(np.asarray(weight).T, bias))
        if i < last:
            body.append(_ACTIVATIONS[estimator.activation]())
    outputs, width = estimator.out_activation_, len(estimator.intercepts_[-1])
    if outputs == "softmax":
        return [(body, "log-probabilities")]
    if width != 1:
        raise NoTwin(f"{type(estimator).__name__} with several targets")
    if outputs == "logistic":
        return [([*body, BinaryLogits()], "log-probabilities")]
    if outputs == "exp":
        return [([*body, Exp()], "values")]
    return [(body, "values")]

"""Small models that learn in milliseconds, one for each thing that a model can offer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from robreport.bundle import ModelHandle, Needs
from robreport.testing.oracle import linear_module, softmax
from robreport.trees import Tree, TreeEnsemble

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]

TASKS = Needs.CLASSIFICATION | Needs.REGRESSION
HIDDEN = 12
STEPS = 80


class PredictionsOnly(ModelHandle):
    """A model behind a wall: it predicts, and offers nothing else."""

    def __init__(self, model: ModelHandle) -> None:
        super().__init__()
        self._model = model
        self.name = "predictions"
        self.kind = "predictions only"
        self.offers = model.offers & TASKS
        self.input_shape = model.input_shape
        self.n_outputs = model.n_outputs

    def predict(self, x: Array) -> Array:
        return self._model.predict(x)


class LinearRegressor(ModelHandle):
    """Ridge regression with its coefficients in plain sight."""

    offers = Needs.REGRESSION | Needs.GRADIENTS | Needs.PARAMETERS | Needs.REFIT

    def __init__(self, weights: Array, bias: float, *, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weights = np.asarray(weights, dtype=np.float32).astype(np.float64)
        self.bias = float(np.float32(bias))
        self.name = "regressor"
        self.kind = f"linear regressor, {self.weights.size} inputs"
        self.input_shape = input_shape
        self.n_outputs = 1
        self._module: torch.nn.Module | None = None

    @classmethod
    def fitted(cls, x: Array, y: Array, *, ridge: float = 1e-3) -> LinearRegressor:
        """Return the ridge regression of y on x."""
        flat = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
        design = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
        normal = design.T @ design + ridge * np.eye(design.shape[1])
        solution = np.linalg.solve(normal, design.T @ np.asarray(y, dtype=np.float64))
        return cls(solution[:-1], solution[-1], input_shape=tuple(x.shape[1:]))

    def predict(self, x: Array) -> Array:
        flat = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
        return np.asarray(flat @ self.weights + self.bias)

    def torch_module(self) -> torch.nn.Module:
        if self._module is None:
            self._module = linear_module(self.weights[None, :], np.array([self.bias]))
        return self._module

    def refit(self, x: Array, y: Array, seed: int) -> LinearRegressor:
        return LinearRegressor.fitted(x, y)


class SmallNet(ModelHandle):
    """A torch network with one hidden layer that brings its initial parameters.

    Parameters
    ----------
    module : torch.nn.Sequential
        Flatten, linear, ReLU, linear; float32.
    initial : mapping
        Its parameters before training.
    task : "classification" or "regression"
    """

    def __init__(
        self,
        module: torch.nn.Module,
        initial: Mapping[str, Array],
        *,
        input_shape: tuple[int, ...],
        n_outputs: int,
        task: str,
    ) -> None:
        super().__init__()
        self._module = module
        self._initial = dict(initial)
        self.input_shape = input_shape
        self.n_outputs = n_outputs
        self.name = "network"
        self.kind = f"torch Sequential, {HIDDEN} hidden units"
        inside = Needs.GRADIENTS | Needs.PARAMETERS | Needs.REFIT
        if task == "regression":
            self.offers = Needs.REGRESSION | inside
        else:
            self.offers = Needs.CLASSIFICATION | Needs.PROBABILITIES | Needs.LOGITS | inside

    @classmethod
    def fitted(cls, x: Array, y: Array, *, outputs: int, task: str, seed: int) -> SmallNet:
        """Return a network trained by full-batch Adam from seeded weights."""
        import torch

        rng = np.random.default_rng(seed)
        inputs = int(np.prod(x.shape[1:]))
        layers = [
            torch.nn.utils.skip_init(torch.nn.Linear, inputs, HIDDEN),
            torch.nn.utils.skip_init(torch.nn.Linear, HIDDEN, outputs),
        ]
        with torch.no_grad():
            for layer in layers:
                shape = tuple(layer.weight.shape)
                layer.weight.copy_(torch.from_numpy(rng.normal(size=shape) * shape[1] ** -0.5))
                layer.bias.zero_()
        module = torch.nn.Sequential(torch.nn.Flatten(), layers[0], torch.nn.ReLU(), layers[1])
        initial = {name: value.detach().numpy().copy() for name, value in module.named_parameters()}
        batch = torch.from_numpy(np.array(x, dtype=np.float32))
        optimiser = torch.optim.Adam(module.parameters(), lr=0.02)
        loss: torch.nn.Module
        if task == "regression":
            target = torch.from_numpy(np.array(y, dtype=np.float32)[:, None])
            loss = torch.nn.MSELoss()
        else:
            target = torch.from_numpy(np.array(y, dtype=np.int64))
            loss = torch.nn.CrossEntropyLoss()
        with torch.enable_grad():
            for _ in range(STEPS):
                optimiser.zero_grad()
                loss(module(batch), target).backward()
                optimiser.step()
        optimiser.zero_grad()
        return cls(
            module.eval(), initial, input_shape=tuple(x.shape[1:]), n_outputs=outputs, task=task
        )

    def _outputs(self, x: Array) -> Array:
        import torch

        with torch.no_grad():
            found = self._module(torch.from_numpy(np.array(x, dtype=np.float32)))
        return np.asarray(found.numpy(), dtype=np.float64)

    def predict(self, x: Array) -> Array:
        found = self._outputs(x)
        if Needs.REGRESSION in self.offers:
            return np.asarray(found[:, 0])
        return np.asarray(found.argmax(axis=1), dtype=np.int64)

    def predict_proba(self, x: Array) -> Array:
        if Needs.PROBABILITIES not in self.offers:
            return super().predict_proba(x)
        return softmax(self._outputs(x))

    def logits(self, x: Array) -> Array:
        if Needs.LOGITS not in self.offers:
            return super().logits(x)
        return self._outputs(x)

    def torch_module(self) -> torch.nn.Module:
        return self._module

    def refit(self, x: Array, y: Array, seed: int) -> SmallNet:
        task = "regression" if Needs.REGRESSION in self.offers else "classification"
        return SmallNet.fitted(x, y, outputs=self.n_outputs, task=task, seed=seed)

    def initial_parameters(self) -> Mapping[str, Array]:
        return {name: value.copy() for name, value in self._initial.items()}


class StumpForest(ModelHandle):
    """One decision stump a feature, their leaf values averaged: class shares, or a mean."""

    def __init__(self, ensemble: TreeEnsemble, *, input_shape: tuple[int, ...], task: str) -> None:
        super().__init__()
        self._ensemble = ensemble
        self.input_shape = input_shape
        self.n_outputs = ensemble.n_outputs
        self.name = "stumps"
        self.kind = f"decision stumps, {len(ensemble.trees)} trees"
        if task == "regression":
            self.offers = Needs.REGRESSION | Needs.TREES | Needs.REFIT
        else:
            self.offers = Needs.CLASSIFICATION | Needs.PROBABILITIES | Needs.TREES | Needs.REFIT

    @classmethod
    def fitted(cls, x: Array, y: Array, *, outputs: int, task: str) -> StumpForest:
        """Return stumps that split each feature where the squared error of `value` is least."""
        flat = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
        if task == "regression":
            target = np.asarray(y, dtype=np.float64)[:, None]
        else:
            target = np.eye(outputs)[np.asarray(y, dtype=np.int64)]
        trees = []
        for j in range(flat.shape[1]):
            threshold, value = _best_split(flat[:, j], target)
            trees.append(
                Tree(
                    feature=np.array([j, -1, -1]),
                    threshold=np.array([threshold, 0.0, 0.0]),
                    left=np.array([1, -1, -1]),
                    right=np.array([2, -1, -1]),
                    missing_left=np.zeros(3, dtype=bool),
                    value=value,
                )
            )
        ensemble = TreeEnsemble(
            trees=tuple(trees),
            n_features=flat.shape[1],
            n_outputs=target.shape[1],
            base=np.zeros(target.shape[1]),
            aggregation="mean",
            link="identity" if task == "regression" else "distribution",
        )
        return cls(ensemble, input_shape=tuple(x.shape[1:]), task=task)

    def predict(self, x: Array) -> Array:
        return self._ensemble.predict(x)

    def predict_proba(self, x: Array) -> Array:
        if Needs.PROBABILITIES not in self.offers:
            return super().predict_proba(x)
        return self._ensemble.predict_proba(x)

    def refit(self, x: Array, y: Array, seed: int) -> StumpForest:
        task = "regression" if Needs.REGRESSION in self.offers else "classification"
        return StumpForest.fitted(x, y, outputs=self.n_outputs, task=task)

    def trees(self) -> TreeEnsemble:
        return self._ensemble


def _best_split(column: Array, target: Array) -> tuple[float, Array]:
    """Return the threshold of least squared error, and the values of root, left and right."""
    mean = target.mean(axis=0)
    best = (float(column.max()), np.stack([mean, mean, mean]))
    least = float(((target - mean) ** 2).sum())
    ordered = np.unique(column)
    for cut in (ordered[1:] + ordered[:-1]) / 2:
        left = column <= cut
        low, high = target[left].mean(axis=0), target[~left].mean(axis=0)
        error = float(((target - np.where(left[:, None], low, high)) ** 2).sum())
        if error < least:
            least, best = error, (float(cut), np.stack([mean, low, high]))
    return best

"""The weights of a declared model whose scores are an affine function of its input."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from robreport import Bundle, SkipMetric
from robreport_plugins.linear.dataset import MOST_NUMBERS, flat

if TYPE_CHECKING:
    from torch import nn

Floats = npt.NDArray[np.float64]

_PROBES = 64
# In standard deviations: a step that clips far outside the data is none of an affine function.
_REACH = (1.0, 10.0, 100.0, 1e4)
_TEST_ROWS = 1000
# Some modules compute in float32 whatever they are given.
_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """Scores ``x @ weight.T + bias``, ``(n, k)`` with k >= 2, over the flattened data."""

    weight: Floats
    bias: Floats


def read_affine(bundle: Bundle, seed: int) -> Affine:
    """Return the model's weights, read through the gradient of its scores.

    An affine function is its value and gradient at one point. Whether the model is one is tried at
    test inputs and at random points, up to ten thousand times farther apart than the data.

    Raises
    ------
    SkipMetric
        The model is not linear, or too wide.
    """
    import torch

    test = bundle.split("test")
    shape = tuple(bundle.schema.input_shape)
    d = int(np.prod(shape))
    if d * max(2, bundle.model.n_outputs) > MOST_NUMBERS:
        raise SkipMetric("the model has more weights than are read (250 million)")
    module = _scores(copy.deepcopy(bundle.model.torch_module())).cpu().double()
    rows = flat(test.x[:_TEST_ROWS])
    centre = rows.mean(axis=0)

    def scores(x: Floats) -> Floats:
        with torch.no_grad():
            out = module(torch.from_numpy(np.ascontiguousarray(x).reshape(-1, *shape)))
        found = np.asarray(out.double().numpy())
        if found.ndim != 2 or found.shape != (len(x), found.shape[-1]) or found.shape[1] < 2:
            raise SkipMetric(f"the model gives scores of shape {found.shape}, not (n, classes)")
        return found

    point = torch.from_numpy(centre.reshape(1, *shape)).requires_grad_(True)
    with torch.enable_grad():
        value = module(point)
        if value.ndim != 2 or value.shape[1] < 2 or not value.requires_grad:
            raise SkipMetric("the model's scores are no differentiable function of its input")
        parts = [
            torch.autograd.grad(value[0, j], point, retain_graph=True)[0].reshape(-1)
            for j in range(value.shape[1])
        ]
    weight = torch.stack(parts).double().numpy()
    bias = scores(centre[None])[0] - weight @ centre
    rng = np.random.default_rng(seed)
    spread = np.maximum(rows.std(axis=0), 1e-3 * (1.0 + np.abs(centre)))
    far = [centre + s * spread * rng.normal(size=(_PROBES, d)) for s in _REACH]
    off = 0.0
    for points in (rows, *far):
        size = np.abs(points) @ np.abs(weight).T + np.abs(bias) + 1e-300
        with np.errstate(all="ignore"):
            gap = np.abs(scores(points) - (points @ weight.T + bias)) / size
        off = max(off, float(np.nan_to_num(gap, nan=np.inf).max()))
    if not off <= _TOLERANCE:
        raise SkipMetric(
            f"{bundle.model.name or 'the model'} is not linear: its scores differ from every "
            "affine function of the input, and only those have an exact attack"
        )
    return Affine(weight=weight, bias=bias)


def _scores(module: nn.Module) -> nn.Module:
    """Return the module without a last step that changes no decision, such as a softmax."""
    from torch import nn

    last = (nn.LogSigmoid, nn.Sigmoid, nn.LogSoftmax, nn.Softmax, nn.Identity)
    if not isinstance(module, nn.Sequential) or not len(module):
        return module
    children = list(module)
    while children and isinstance(children[-1], last):
        children.pop()
    if not children:
        return module
    return nn.Sequential(*children[:-1], _scores(children[-1])).train(module.training)

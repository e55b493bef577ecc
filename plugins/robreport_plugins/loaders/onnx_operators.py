"""ONNX operators as torch functions: the table, and those that work element by element.

Each function takes the node's `Attributes` and its input tensors (None for one left out) and
returns its output, or a tuple of them, by the definition of the operator in the ONNX
specification. What an operator can do beyond that is refused with `Unsupported`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Operator = Callable[..., Tensor | tuple[Tensor, ...]]
OPERATORS: dict[str, Operator] = {}
"""Operators of the standard domain by name, from version 7 of the operator set on."""


class Unsupported(Exception):
    """A network, or a way in which it uses an operator, has no conversion to torch."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """A node's attributes: numbers, texts, lists, or tensors.

    Attributes
    ----------
    values : mapping
    opset : int
        Version of the operator set, where definitions differ.
    n_outputs : int
    """

    values: Mapping[str, Any]
    opset: int
    n_outputs: int = 1

    def get(self, name: str, default: Any = None) -> Any:
        """Return the attribute, or the default that the specification gives it."""
        return self.values.get(name, default)

    def need(self, name: str, *allowed: Any) -> None:
        """Refuse a value other than those allowed; the first is the default."""
        found = self.get(name, allowed[0])
        if found not in allowed:
            raise Unsupported(f"{name} = {found!r}")

    def number(self, name: str, default: float) -> float:
        """Return a numeric attribute, or the default that the specification gives it."""
        return float(self.values.get(name, default))


def operator(*names: str) -> Callable[[Operator], Operator]:
    """Enter a function into the table under these names."""

    def enter(function: Operator) -> Operator:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return enter


def whole_numbers(values: Tensor | None) -> list[int] | None:
    """Return an input that holds sizes, axes or positions; None where it was left out."""
    return None if values is None else [int(v) for v in values.reshape(-1).tolist()]


def _without_attributes(function: Callable[..., Tensor]) -> Operator:
    return lambda a, *args: function(*args)


_PLAIN: dict[str, Callable[..., Tensor]] = {
    "Abs": torch.abs,
    "Add": torch.add,
    "And": torch.logical_and,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "HardSwish": functional.hardswish,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "Mish": functional.mish,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    # torch's own returns its input above 20, where the difference is below float32 but not float64
    "Softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "Softsign": functional.softsign,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Tanh": torch.tanh,
    "Xor": torch.logical_xor,
}
OPERATORS.update({name: _without_attributes(f) for name, f in _PLAIN.items()})


@operator("Identity")
def _identity(a: Attributes, x: Tensor) -> Tensor:
    return x


@operator("Where")
def _where(a: Attributes, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.where(condition.to(x.device), x, y.to(x.device))


@operator("Div")
def _div(a: Attributes, x: Tensor, y: Tensor) -> Tensor:
    # whole numbers are divided as such, towards zero
    return torch.div(x, y, rounding_mode=None if x.is_floating_point() else "trunc")


@operator("Pow")
def _pow(a: Attributes, x: Tensor, y: Tensor) -> Tensor:
    return torch.pow(x, y).to(x.dtype)


@operator("Max")
def _max(a: Attributes, *args: Tensor) -> Tensor:
    return functools.reduce(torch.maximum, args)


@operator("Min")
def _min(a: Attributes, *args: Tensor) -> Tensor:
    return functools.reduce(torch.minimum, args)


@operator("Sum")
def _sum(a: Attributes, *args: Tensor) -> Tensor:
    return functools.reduce(torch.add, args)


@operator("Mean")
def _mean(a: Attributes, *args: Tensor) -> Tensor:
    return functools.reduce(torch.add, args) / len(args)


@operator("Clip")
def _clip(
    a: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None
) -> Tensor:
    if a.opset < 11:
        return x.clamp(a.get("min", -torch.inf), a.get("max", torch.inf))
    if low is None and high is None:
        return x
    return x.clamp(None if low is None else low.to(x), None if high is None else high.to(x))


@operator("LeakyRelu")
def _leaky_relu(a: Attributes, x: Tensor) -> Tensor:
    return functional.leaky_relu(x, a.number("alpha", 0.01))


@operator("PRelu")
def _prelu(a: Attributes, x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


@operator("Elu")
def _elu(a: Attributes, x: Tensor) -> Tensor:
    return functional.elu(x, a.number("alpha", 1.0))


@operator("Celu")
def _celu(a: Attributes, x: Tensor) -> Tensor:
    return functional.celu(x, a.number("alpha", 1.0))


@operator("Selu")
def _selu(a: Attributes, x: Tensor) -> Tensor:
    alpha, gamma = (
        a.number("alpha", 1.67326319217681884765625),
        a.number("gamma", 1.05070102214813232),
    )
    return gamma * torch.where(x > 0, x, alpha * torch.expm1(x.clamp_max(0)))


@operator("ThresholdedRelu")
def _thresholded_relu(a: Attributes, x: Tensor) -> Tensor:
    return torch.where(x > a.number("alpha", 1.0), x, torch.zeros_like(x))


@operator("HardSigmoid")
def _hard_sigmoid(a: Attributes, x: Tensor) -> Tensor:
    return (a.number("alpha", 0.2) * x + a.number("beta", 0.5)).clamp(0, 1)


@operator("Gelu")
def _gelu(a: Attributes, x: Tensor) -> Tensor:
    return functional.gelu(x, approximate=a.get("approximate", "none"))


@operator("Swish")
def _swish(a: Attributes, x: Tensor) -> Tensor:
    return x * torch.sigmoid(a.number("alpha", 1.0) * x)


@operator("Dropout")
def _dropout(
    a: Attributes, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None
) -> Tensor | tuple[Tensor, ...]:
    if training is not None and bool(training):
        raise Unsupported("dropout in training mode, which is random")
    return x if a.n_outputs == 1 else (x, torch.ones_like(x, dtype=torch.bool))


def _softmax_like(
    function: Callable[[Tensor, int], Tensor],
) -> Callable[[Attributes, Tensor], Tensor]:
    def apply(a: Attributes, x: Tensor) -> Tensor:
        if a.opset >= 13:
            return function(x, a.get("axis", -1))
        # before version 13, over every axis from this one on
        axis = a.get("axis", 1) % x.ndim
        rows = x.reshape(*x.shape[:axis], -1)
        return function(rows, -1).reshape(x.shape)

    return apply


OPERATORS["Softmax"] = _softmax_like(torch.softmax)
OPERATORS["LogSoftmax"] = _softmax_like(torch.log_softmax)

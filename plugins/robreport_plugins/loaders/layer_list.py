"""Read a declarative layer list such as ``[["conv", "0", 2, 1], ["relu"], ["linear", "5"]]``.

Reading needs no torch, so that a mistake is reported when the audit file is checked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from robreport_plugins.loaders.wording import did_you_mean, listed

_REQUIRED = object()
_LARGEST_SIZE = 1 << 16


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a list: where it stands, what it is, its weights' key and its numbers."""

    index: int
    name: str
    key: str
    arguments: dict[str, Any]

    @property
    def where(self) -> str:
        """How a sentence names it: its place in the list, and its first two entries."""
        key = f", {self.key!r}" if self.key else ""
        return f"architecture[{self.index}] [{self.name!r}{key}]"


@dataclass(frozen=True, slots=True)
class _Form:
    key: bool = False
    arguments: tuple[tuple[str, str, Any], ...] = ()


_POOL = (("size", "size", _REQUIRED), ("stride", "size", None), ("padding", "padding", (0, 0)))
FORMS: dict[str, _Form] = {
    "conv": _Form(True, (("stride", "size", (1, 1)), ("padding", "padding", (0, 0)))),
    "linear": _Form(True),
    "batchnorm": _Form(True, (("eps", "positive", 1e-5),)),
    "flatten": _Form(False, (("order", "order", "NCHW"),)),
    "maxpool": _Form(False, _POOL),
    "avgpool": _Form(False, _POOL),
    "adaptive_avgpool": _Form(False, (("size", "size", _REQUIRED),)),
    "dropout": _Form(False, (("p", "probability", 0.5),)),
    "leaky_relu": _Form(False, (("slope", "number", 0.01),)),
    "relu": _Form(),
    "sigmoid": _Form(),
    "tanh": _Form(),
    "elu": _Form(),
    "gelu": _Form(),
    "silu": _Form(),
    "softplus": _Form(),
}
_WORDS = {
    "size": "a whole number of at least 1, or a pair of them",
    "padding": "a whole number of at least 0, or a pair of them",
    "positive": "a number above 0",
    "probability": "a number from 0 up to but not including 1",
    "number": "a number",
    "order": "'NCHW' or 'NHWC'",
}


def parse_layers(given: Sequence[Any]) -> tuple[Layer, ...]:
    """Return the layers of a declarative list, each with its arguments made whole.

    Parameters
    ----------
    given : sequence
        Each entry is a name, or a list of the name, the weights' key where the layer has
        weights, and numbers: ``["conv", key, stride, padding]``, ``["linear", key]``,
        ``["batchnorm", key, eps]``, ``["flatten", order]``, ``["maxpool", size, stride,
        padding]``, ``["avgpool", size, stride, padding]``, ``["adaptive_avgpool", n]``,
        ``["dropout", p]`` (nothing happens: networks are audited in evaluation mode),
        ``["leaky_relu", slope]``, ``["relu"]`` and the other activations.

    Raises
    ------
    ValueError
        An unknown layer, a missing or superfluous entry, or a number out of range.
    """
    if not given:
        raise ValueError("architecture is an empty list; name at least one layer.")
    return tuple(_parse(index, entry) for index, entry in enumerate(given))


def _parse(index: int, entry: Any) -> Layer:
    where = f"architecture[{index}]"
    parts = [entry] if isinstance(entry, str) else entry
    if not isinstance(parts, list | tuple) or not parts or not isinstance(parts[0], str):
        raise ValueError(f"{where}: a layer is a list that begins with its name, found {entry!r}.")
    name, rest = parts[0], list(parts[1:])
    if name in ("softmax", "log_softmax", "logsoftmax"):
        raise ValueError(
            f"{where}: {name} is not taken, since attacks need scores before it; "
            "leave it out and declare logits (outputs = 'logits')."
        )
    form = FORMS.get(name)
    if form is None:
        known = sorted(FORMS)
        raise ValueError(
            f"{where}: unknown layer {name!r}; known: {', '.join(known)}."
            f"{did_you_mean(name, known)}"
        )
    key = ""
    if form.key:
        if not rest or not isinstance(rest[0], str) or not rest[0]:
            raise ValueError(
                f"{where}: {name} needs the key of its weights as its second entry, "
                f"as in ['{name}', 'fc1'], found {list(parts)!r}."
            )
        key = rest.pop(0)
    if len(rest) > len(form.arguments):
        names = listed(argument for argument, _, _ in form.arguments)
        raise ValueError(
            f"{where}: {name} has {len(rest) - len(form.arguments)} entries too many: "
            f"after {'its key' if form.key else 'its name'} it takes {names}."
        )
    arguments: dict[str, Any] = {}
    for position, (argument, kind, default) in enumerate(form.arguments):
        if position < len(rest):
            arguments[argument] = _value(rest[position], kind, f"{where}: {name}", argument)
        elif default is _REQUIRED:
            raise ValueError(f"{where}: {name} needs its {argument}, {_WORDS[kind]}.")
        else:
            arguments[argument] = default
    if "stride" in arguments and arguments["stride"] is None:
        arguments["stride"] = arguments["size"]
    if name in ("maxpool", "avgpool"):
        _check_pool_padding(arguments, f"{where}: {name}")
    return Layer(index, name, key, arguments)


def _check_pool_padding(arguments: dict[str, Any], where: str) -> None:
    if any(2 * p > s for p, s in zip(arguments["padding"], arguments["size"], strict=True)):
        raise ValueError(
            f"{where}: padding {arguments['padding']} may be at most half of the size "
            f"{arguments['size']}."
        )


def _value(given: Any, kind: str, where: str, argument: str) -> Any:
    """Return one argument in its canonical form (sizes as pairs)."""
    wrong = ValueError(f"{where}: {argument} must be {_WORDS[kind]}, found {given!r}.")
    if kind == "order":
        if given not in ("NCHW", "NHWC"):
            raise wrong
        return given
    if kind in ("size", "padding"):
        pair = given if isinstance(given, list | tuple) else (given, given)
        least = 1 if kind == "size" else 0
        if len(pair) != 2 or any(
            isinstance(n, bool) or not isinstance(n, int) or not least <= n <= _LARGEST_SIZE
            for n in pair
        ):
            raise wrong
        return (int(pair[0]), int(pair[1]))
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise wrong
    if (kind == "positive" and given <= 0) or (kind == "probability" and not 0 <= given < 1):
        raise wrong
    return float(given)


def summarise(layers: Sequence[Layer], most: int = 12) -> str:
    """Return "conv-relu-flatten-linear", shortened in the middle for a deep network."""
    names = [layer.name for layer in layers]
    if len(names) <= most:
        return "-".join(names)
    return f"{'-'.join(names[:5])}-...-{'-'.join(names[-2:])} ({len(names)} layers)"

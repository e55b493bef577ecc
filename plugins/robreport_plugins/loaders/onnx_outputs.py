"""Find what an ONNX network says: its scores, what they are, and the names of its classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from robreport import ModelError
from robreport_plugins.loaders.wording import did_you_mean, listed

_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)
_LABELS = (onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.STRING)
# What may stand between a softmax and the output without changing values or their order.
_CARRIERS = ("Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
_LABEL_ATTRIBUTES = (
    "classlabels_strings", "classlabels_int64s", "classlabels_ints", "classlabels_int64s",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout:
    """Which of a network's values are read.

    Attributes
    ----------
    scores : str
        One score per class, or the predicted value.
    before : str
        What the last softmax or sigmoid reads; empty where there is none.
    last : "Softmax", "Sigmoid" or ""
        The operator that the scores come from.
    label : str
        The predicted label, where the network gives one beside its scores.
    labels : tuple
        Labels of the columns of the scores where the file says them.
    """

    scores: str
    before: str
    last: str
    label: str
    labels: tuple[Any, ...]


def find_readout(model: Any, wanted: str | int | None, where: str) -> Readout:
    """Return what to read of a network.

    Parameters
    ----------
    model : ModelProto
    wanted : str, int or None
        The declared output by its name or position; the only one of numbers when None.
    where : str

    Raises
    ------
    ModelError
        There is no such output, or several could be meant.
    """
    producers = {name: node for node in model.graph.node for name in node.output if name}
    outputs = {value.name: value for value in model.graph.output}
    scores = _chosen(outputs, producers, wanted, where)
    labels: tuple[Any, ...] = ()
    found = scores
    maker = producers.get(scores)
    if maker is not None and maker.op_type == "ZipMap":
        # a list of {label: probability}; what it is made from is the table of probabilities
        labels = _labels_of(maker)
        found = maker.input[0]
    others = [n for n, v in outputs.items() if n != scores and _element(v) in _LABELS]
    before, last = _before_softmax(model, producers, found)
    return Readout(
        scores=found,
        before=before,
        last=last,
        label=others[0] if len(others) == 1 else "",
        labels=labels or _labels_upstream(model, producers, [found, *others[:1]]),
    )


def _element(value: Any) -> int:
    return int(value.type.tensor_type.elem_type)


def _chosen(
    outputs: Mapping[str, Any], producers: Mapping[str, Any], wanted: str | int | None, where: str
) -> str:
    names = list(outputs)
    if isinstance(wanted, int):
        if not -len(names) <= wanted < len(names):
            raise ModelError(
                f"{where}: output = {wanted} is declared, and it has {len(names)} outputs: "
                f"{listed(map(repr, names))}."
            )
        return names[wanted]
    if wanted is not None:
        if wanted not in outputs:
            raise ModelError(
                f"{where}: output = {wanted!r} is declared, and its outputs are "
                f"{listed(map(repr, names))}.{did_you_mean(wanted, names)}"
            )
        return wanted
    numbers = [
        name
        for name, value in outputs.items()
        if _element(value) in _FLOATS
        or getattr(producers.get(name), "op_type", "") == "ZipMap"
        # a type left out of the file: whether it can be read shows when it runs
        or (value.type.HasField("tensor_type") and not _element(value))
    ]
    if len(numbers) != 1:
        raise ModelError(
            f"{where}: {len(numbers)} of its outputs ({listed(map(repr, names))}) are "
            "floating-point numbers; name the one with a score per class with output = 'NAME'."
        )
    return numbers[0]


def _before_softmax(model: Any, producers: Mapping[str, Any], name: str) -> tuple[str, str]:
    """Return what a last softmax or sigmoid reads, and which of the two it is."""
    node = producers.get(name)
    while node is not None and node.domain in ("", "ai.onnx") and node.op_type in _CARRIERS:
        node = producers.get(node.input[0])
    if node is None or node.domain not in ("", "ai.onnx"):
        return "", ""
    if node.op_type == "Sigmoid":
        return node.input[0], "Sigmoid"
    if node.op_type != "Softmax":
        return "", ""
    axis = next((a.i for a in node.attribute if a.name == "axis"), -1)
    return (node.input[0], "Softmax") if axis in (1, -1) else ("", "")


def _labels_of(node: Any) -> tuple[Any, ...]:
    for attribute in node.attribute:
        if attribute.name in _LABEL_ATTRIBUTES:
            if attribute.strings:
                return tuple(s.decode("utf-8", "replace") for s in attribute.strings)
            if attribute.ints:
                return tuple(attribute.ints)
    return ()


def _labels_upstream(model: Any, producers: Mapping[str, Any], names: list[str]) -> tuple[Any, ...]:
    """Return the labels that a classifier of ai.onnx.ml, or a choice among them, names."""
    constants = {t.name: t for t in model.graph.initializer}
    waiting, seen = list(names), set()
    while waiting:
        node = producers.get(waiting.pop())
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if node.domain == "ai.onnx.ml":
            found = _labels_of(node)
            if found:
                return found
            if node.op_type == "ArrayFeatureExtractor" and node.input[0] in constants:
                values = onnx.numpy_helper.to_array(constants[node.input[0]]).reshape(-1)
                return tuple(
                    v.decode("utf-8", "replace") if isinstance(v, bytes) else v
                    for v in values.tolist()
                )
        waiting.extend(node.input)
    return ()

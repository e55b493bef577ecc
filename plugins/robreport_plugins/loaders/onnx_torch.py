"""An ONNX graph as a torch module: the same nodes in the same order, differentiable."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

# Importing the first for its effect alone: both fill the table.
from robreport_plugins.loaders import onnx_layer_operators  # noqa: F401
from robreport_plugins.loaders import onnx_shape_operators as _shapes
from robreport_plugins.loaders.onnx_operators import OPERATORS, Attributes, Operator, Unsupported
from robreport_plugins.loaders.wording import listed, one_line

__all__ = ["GraphModule", "Step", "Unsupported", "node_words"]

OLDEST = 7
"""Operator sets before this broadcast by other rules."""

# Inputs that training changes: (operator, which of its inputs).
_TRAINED = {
    "BatchNormalization": (1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (0, 1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "MatMul": (0, 1),
    "PRelu": (1,),
}
# Weights may pass through these on their way to a layer.
_CARRIERS = ("Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


@dataclass(frozen=True, slots=True)
class Step:
    """One node: the function, where its inputs come from, what its outputs are called."""

    operator: Operator
    attributes: Attributes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    words: str
    last_use: tuple[str, ...]


class GraphModule(nn.Module):
    """Maps what the network's one input holds to one of its values, by torch operations.

    Weights of layers are parameters; other floating-point constants are buffers; whole numbers
    (shapes, axes, positions) stay on the CPU.

    Parameters
    ----------
    model : ModelProto
        Checked, without functions of its own and without external data.
    output : str
        Name of the value to return.

    Raises
    ------
    Unsupported
        An operator, or a way of using one, that has no conversion.
    """

    def __init__(self, model: onnx.ModelProto, output: str) -> None:
        super().__init__()
        opset = _opset(model)
        graph = model.graph
        nodes = _needed(graph, output)
        if not nodes:
            raise Unsupported("an output that no node computes")
        unknown = sorted({_operator_name(n) for n in nodes if not _known(n)})
        if unknown:
            raise Unsupported(f"the operator {listed(unknown)}")
        constants = _initial_constants(graph, {name for n in nodes for name in n.input})
        trained = _trained_names(nodes, constants)
        given = {value.name for value in graph.input} - set(constants)
        steps = _fold([_step(n, opset) for n in nodes], constants, trained, given)
        if not any(output in step.outputs for step in steps):
            raise Unsupported("an output that does not depend on the input")
        self.entry = next(iter(sorted(given)), "")
        self.output = output
        self.whole = {k: v for k, v in constants.items() if not v.is_floating_point()}
        self.slots: dict[str, str] = {}
        for name, value in constants.items():
            if not value.is_floating_point():
                continue
            slot = self._slot(name)
            if name in trained:
                self.register_parameter(slot, nn.Parameter(value.clone(), requires_grad=False))
            else:
                self.register_buffer(slot, value)
            self.slots[name] = slot
        self.steps = _with_last_uses(steps, output)

    def forward(self, x: Tensor) -> Tensor:
        return self._values(x, keep=False)[self.output]

    def trace(self, x: Tensor) -> dict[str, Tensor]:
        """Return every value on the way by its name, the result among them."""
        return self._values(x, keep=True)

    def _values(self, x: Tensor, *, keep: bool) -> dict[str, Tensor]:
        values: dict[str, Any] = {**self.whole, self.entry: x, "": None}
        for name, slot in self.slots.items():
            values[name] = getattr(self, slot)
        for step in self.steps:
            try:
                found = _run(step, [values[name] for name in step.inputs])
            except Exception as error:
                error.add_note(step.words)  # so that who reports it can say where
                raise
            values.update(zip(step.outputs, found, strict=False))
            if not keep:
                for name in step.last_use:
                    del values[name]
        del values[""]
        return values

    def _slot(self, name: str) -> str:
        """Return a free attribute name that looks like the constant's."""
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")[:80] or "constant"
        slot, count = plain, 1
        while hasattr(self, slot) or slot in ("entry", "output", "whole", "slots", "steps"):
            count += 1
            slot = f"{plain}_{count}"
        return slot


def _run(step: Step, args: Sequence[Tensor | None]) -> Sequence[Tensor]:
    found = step.operator(step.attributes, *args)
    return (found,) if isinstance(found, Tensor) else found


def node_words(node: onnx.NodeProto, position: int) -> str:
    """Return a node as a sentence names it: "node 3 (Gemm 'fc1')"."""
    label = f" {node.name!r}" if node.name else ""
    return f"node {position} ({_operator_name(node)}{label})"


def _operator_name(node: onnx.NodeProto) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type


def _known(node: onnx.NodeProto) -> bool:
    return node.domain in ("", "ai.onnx") and node.op_type in OPERATORS


def _opset(model: onnx.ModelProto) -> int:
    found = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    version = int(found[0]) if found else 0
    if version < OLDEST:
        raise Unsupported(f"version {version} of the operator set, older than {OLDEST}")
    return version


def _needed(graph: onnx.GraphProto, output: str) -> list[onnx.NodeProto]:
    """Return the nodes that the value depends on, in their order."""
    wanted = {output}
    kept = []
    for node in reversed(graph.node):
        if wanted & set(node.output) - {""}:
            kept.append(node)
            wanted |= set(node.input)
    return kept[::-1]


def _initial_constants(graph: onnx.GraphProto, used: set[str]) -> dict[str, Tensor]:
    if graph.sparse_initializer:
        raise Unsupported("sparse weights")
    return {t.name: _tensor(t) for t in graph.initializer if t.name in used}


def _tensor(found: onnx.TensorProto) -> Tensor:
    if found.data_type not in _shapes.DTYPES:
        raise Unsupported(f"values of the type {onnx.TensorProto.DataType.Name(found.data_type)}")
    # a copy: what comes from a file's bytes may not be written to
    return torch.from_numpy(np.array(numpy_helper.to_array(found)))


def _step(node: onnx.NodeProto, opset: int) -> Step:
    values = {attribute.name: _attribute(attribute) for attribute in node.attribute}
    n_outputs = len([name for name in node.output if name])
    return Step(
        operator=OPERATORS[node.op_type],
        attributes=Attributes(values, opset, n_outputs),
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        words=_operator_name(node),
        last_use=(),
    )


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, onnx.TensorProto):
        return _tensor(value)
    if isinstance(value, int | float):
        return value
    if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return list(value)
    return None


def _trained_names(nodes: Sequence[onnx.NodeProto], constants: Mapping[str, Tensor]) -> set[str]:
    """Return the constants that training changes: weights and biases of layers."""
    products = {n.output[0] for n in nodes if n.op_type in ("MatMul", "Conv")}
    wanted: set[str] = set()
    for node in reversed(nodes):
        if node.op_type in _CARRIERS and wanted & set(node.output):
            wanted.add(node.input[0])
        places = _TRAINED.get(node.op_type, ())
        wanted |= {node.input[i] for i in places if i < len(node.input)}
        if node.op_type == "Add" and products & set(node.input):  # a product's bias
            wanted |= set(node.input)
    return {k for k in wanted & set(constants) if constants[k].is_floating_point()}


def _fold(
    steps: Sequence[Step], constants: dict[str, Tensor], trained: set[str], given: set[str]
) -> list[Step]:
    """Run once what depends on neither the input nor a weight; its results are constants."""
    kept = []
    for step in steps:
        known = all(not name or name in constants for name in step.inputs)
        if not known or any(name in trained for name in step.inputs):
            kept.append(step)
            continue
        args = [constants[name] if name else None for name in step.inputs]
        try:
            found = _run(step, args)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise Unsupported(f"{step.words}: {one_line(error)}") from None
        constants.update(zip(step.outputs, found, strict=False))
    used = {name for step in kept for name in step.inputs}
    for name in set(constants) - used:
        del constants[name]
    return kept


def _with_last_uses(steps: Sequence[Step], output: str) -> tuple[Step, ...]:
    """Note after which step each value is needed no more."""
    seen = {output, ""}
    done = []
    for step in reversed(steps):
        ended = tuple(dict.fromkeys(n for n in step.inputs if n not in seen))
        seen |= set(step.inputs)
        unused = tuple(n for n in step.outputs if n not in seen)
        done.append(replace(step, last_use=(*ended, *unused)))
    return tuple(done[::-1])

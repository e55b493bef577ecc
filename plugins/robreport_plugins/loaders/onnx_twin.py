"""The torch conversion of an ONNX network, held against onnxruntime before it is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn

from robreport import ModelError
from robreport_plugins.loaders.fixed_batch import in_batches
from robreport_plugins.loaders.network import deterministic
from robreport_plugins.loaders.onnx_input import NetworkInput
from robreport_plugins.loaders.onnx_session import Session
from robreport_plugins.loaders.onnx_torch import GraphModule, Unsupported, node_words
from robreport_plugins.loaders.wording import one_line

Array = npt.NDArray[Any]

OR_TOLERANCE = ", or a larger tolerance (up to 0.01) where that is rounding"
_FAULTS = (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError)


class Converted(nn.Module):
    """A converted network between its input and its scores, in batches that it takes.

    Parameters
    ----------
    entry : NetworkInput
    graph : GraphModule
    batch : int or None
        The only batch size that the graph's shapes allow; None for any.
    """

    def __init__(self, entry: NetworkInput, graph: GraphModule, batch: int | None) -> None:
        super().__init__()
        self.entry = entry
        self.graph = graph
        self.batch = batch

    def forward(self, x: Tensor) -> Tensor:
        read = self.entry(x)
        out = in_batches(self.graph, read, self.batch)
        # the network may compute in float64: what it returns is of its caller's precision
        return out.reshape(len(x), -1).to(x.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far both runtimes were apart.

    Attributes
    ----------
    largest : float
        Largest difference, relative to the largest output of its row (or of the median row).
    rows : int
        Inputs compared.
    """

    largest: float
    rows: int

    def words(self) -> str:
        return f"{self.largest:.1e} relative, on {self.rows:,} inputs"


def convert(
    model: onnx.ModelProto,
    value: str,
    entry: NetworkInput,
    session: Session,
    groups: Sequence[Array],
    *,
    device: str,
    tolerance: float,
    where: str,
) -> tuple[Converted, Agreement]:
    """Return the conversion to torch, compared with onnxruntime on these data-space inputs.

    Parameters
    ----------
    model : ModelProto
    value : str
        Name of the value that the conversion returns.
    entry : NetworkInput
    session : Session
        Computes the same value as its first.
    groups : sequence of arrays (n, *shape)
        Inputs; each group has a scale of its own.
    device : str
    tolerance : float
        Largest relative difference allowed.
    where : str

    Raises
    ------
    Unsupported
        The network has no conversion.
    ModelError
        The conversion differs: the sentence says where first, and by how much.
    """
    graph = GraphModule(model, value).eval()
    expected = [flat(session.run(entry.array(x, where))[0]) for x in groups]
    sizes = (session.batch,) if session.fixed else ()
    fault: BaseException | None = None
    converted = None
    for batch in (None, *sizes, 1):
        candidate = Converted(entry, graph, batch).to(device).eval()
        try:
            found = [torch_scores(candidate, x, device) for x in groups]
        except _FAULTS as error:
            fault = fault or error
            continue
        if any(f.shape != e.shape for f, e in zip(found, expected, strict=True)):
            fault = fault or ValueError("another number of outputs")
            continue
        converted, fault = candidate, None
        largest = max(map(_apart, found, expected))
        if largest <= tolerance:
            return converted, Agreement(largest=largest, rows=sum(map(len, groups)))
        if batch is None and not sizes:
            break  # a batch of one would hide that inputs of one batch mix
    if converted is None:
        place = "".join(f", in {note}" for note in getattr(fault, "__notes__", ())[:1])
        raise Unsupported(f"{one_line(fault or ValueError())}{place}")
    raise ModelError(
        f"{where}: onnxruntime and its conversion to torch differ: "
        f"{_where_first(model, converted, session, groups, found, expected, where)}; "
        f"declare gradients = false to audit its predictions alone{OR_TOLERANCE}."
    )


def torch_scores(module: Converted, x: Array, device: str) -> Array:
    """Return the conversion's scores ``(n, k)`` float64 for data-space inputs."""
    double = module.entry.dtype == np.float64
    single = np.require(x, np.float64 if double else np.float32, ["C", "W"])
    with torch.inference_mode(), deterministic():
        return module(torch.from_numpy(single).to(device)).cpu().double().numpy()  # type: ignore[no-any-return]


def flat(values: Array) -> Array:
    """Return a value of a network as float64 ``(n, k)``."""
    return values.reshape(len(values), -1).astype(np.float64)


def relative(found: Array, expected: Array) -> Array:
    """Return each row's largest difference relative to its largest entry, or the median row's.

    A row that has no finite value on one side and has on the other is infinitely far.
    """
    found, expected = flat(found), flat(expected)
    both = np.isfinite(found) & np.isfinite(expected)
    same = both | (found == expected) | (np.isnan(found) & np.isnan(expected))
    size = np.abs(np.where(both, expected, 0.0)).max(axis=1, initial=0.0)
    scale = np.maximum(size, max(float(np.median(size)), float(np.finfo(np.float32).tiny)))
    gap = np.abs(np.where(both, found, 0.0) - np.where(both, expected, 0.0))
    gap = np.where(same, gap, np.inf)
    return np.asarray(gap.max(axis=1, initial=0.0) / scale)


def _apart(found: Array, expected: Array) -> float:
    return float(relative(found, expected).max(initial=0.0))


def _where_first(
    model: onnx.ModelProto,
    converted: Converted,
    session: Session,
    groups: Sequence[Array],
    found: Sequence[Array],
    expected: Sequence[Array],
    where: str,
) -> str:
    """Return the first node whose values differ, with a row and both values, in words."""
    worst = [relative(f, e) for f, e in zip(found, expected, strict=True)]
    group = int(np.argmax([w.max() for w in worst]))
    row = int(worst[group].argmax())
    x = groups[group][row : row + 1]
    read = converted.entry.array(x, where)
    graph = converted.graph
    nodes = {name: (i, node) for i, node in enumerate(model.graph.node) for name in node.output}
    with torch.inference_mode(), deterministic():
        device = next((b.device for b in graph.buffers()), torch.device("cpu"))
        one = torch.from_numpy(np.asarray(read)).to(device)
        one = one.float() if one.dtype == torch.uint8 else one
        if session.fixed:
            one = one.expand(session.batch, *one.shape[1:])
        values = graph.trace(one)
    computed = [name for step in graph.steps for name in step.outputs if name in values]
    try:
        tracer = Session(
            model, computed, session.entry, batch=session.batch, fixed=session.fixed,
            where=where, plain=True,
        )  # fmt: skip
        reference = dict(zip(computed, tracer.run_once(read), strict=True))
    except ModelError:
        reference = {}
    for name in computed:
        there = reference.get(name)
        if there is None or there.dtype.kind not in "fiub":
            continue
        here = values[name].cpu().double().numpy()
        if here.shape != there.shape:
            return (
                f"first at {node_words(nodes[name][1], nodes[name][0])}, whose value has the shape "
                f"{there.shape} and {here.shape}"
            )
        if here.size and _apart(here.reshape(1, -1), there.reshape(1, -1)) > 1e-4:
            return (
                f"first at {node_words(nodes[name][1], nodes[name][0])}, "
                f"{_values(here.reshape(-1), there.reshape(-1).astype(np.float64))} for input {row}"
            )
    return f"at its output, {_values(found[group][row], expected[group][row])} for input {row}"


def _values(here: Array, there: Array) -> str:
    gap = np.abs(np.nan_to_num(here) - np.nan_to_num(there))
    at = int(gap.argmax())
    return f"onnxruntime {there[at]:.6g} and torch {here[at]:.6g} at entry {at}"

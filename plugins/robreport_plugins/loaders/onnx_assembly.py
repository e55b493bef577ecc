"""Put an ONNX network together: file, input, session, outputs, conversion, facts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from torch import nn

from robreport import ModelError, ModelHandle, ModelSource
from robreport_plugins.loaders.against_data import check_against_data, data_space_shape
from robreport_plugins.loaders.class_labels import match_labels
from robreport_plugins.loaders.data_space import DataSpaceNetwork, Outputs
from robreport_plugins.loaders.onnx_agreement import BothRuntimes, column_names
from robreport_plugins.loaders.onnx_file import OnnxFile, read_onnx
from robreport_plugins.loaders.onnx_handle import (
    OnnxHandle,
    OnnxSetup,
    check_probabilities,
    look_like_probabilities,
    table,
    two_columns,
)
from robreport_plugins.loaders.onnx_input import Entry, NetworkInput, find_entry
from robreport_plugins.loaders.onnx_outputs import Readout, find_readout
from robreport_plugins.loaders.onnx_session import Session
from robreport_plugins.loaders.onnx_torch import Unsupported
from robreport_plugins.loaders.onnx_twin import Agreement, Converted, convert
from robreport_plugins.loaders.probe_rows import probe_groups
from robreport_plugins.loaders.twins import Columns
from robreport_plugins.loaders.wording import listed

if TYPE_CHECKING:
    from robreport_plugins.loaders.onnx_model import OnnxOptions

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What has been found so far."""

    source: ModelSource
    where: str
    file: OnnxFile
    entry: Entry
    reader: NetworkInput
    readout: Readout
    session: Session
    groups: list[Array]
    values: list[Array]

    @property
    def options(self) -> OnnxOptions:
        return self.source.options  # type: ignore[no-any-return]


def assemble(source: ModelSource, path: Path, where: str) -> ModelHandle:
    """Return the network of the file as a model of this audit.

    Raises
    ------
    ModelError
        With one sentence, whatever does not fit.
    """
    parts = _parts(source, path, where)
    outputs = _kind(parts)
    scores = table(parts.values[0], where)
    if outputs == "value" and scores.shape[1] != 1:
        raise ModelError(
            f"{where}: predicts one value, as declared or for regression, and its output "
            f"{parts.readout.scores!r} has {scores.shape[1]} columns; name another with output."
        )
    if outputs == "probabilities":
        check_probabilities(two_columns(scores, outputs), where)
    before = outputs == "probabilities" and _explains(parts, scores)
    columns = 1 if outputs == "value" else max(2, scores.shape[1])
    labels, index = _labels(parts, columns, outputs, scores)
    n_classes = source.schema.n_classes if source.schema is not None else 0
    n_outputs = columns
    if outputs != "value" and parts.readout.labels and n_classes:
        n_outputs = n_classes
    module, gradients, agreement, both = _gradients(parts, outputs, before, index, n_outputs)
    setup = OnnxSetup(
        name=source.name,
        kind=f"ONNX network, {_summary(parts.file.model)}, {_size(parts.file.model, module)}",
        where=where,
        input_shape=tuple(parts.reader.space.in_shape),
        n_outputs=n_outputs,
        outputs=outputs,
        before=before,
        labels=labels,
        index=index,
    )
    handle = OnnxHandle(setup, parts.reader, parts.session, module, both)
    check_against_data(handle, source, where, outputs)
    count = sum(p.numel() for p in module.parameters()) if module is not None else 0
    handle.facts = _facts(parts, outputs, before, gradients, agreement, count)
    return handle


def _parts(source: ModelSource, path: Path, where: str) -> _Parts:
    options: OnnxOptions = source.options
    shape = data_space_shape(source, where)
    external = source.base / options.external_data if options.external_data else None
    file = read_onnx(path, external, where)
    entry = find_entry(file.model, where)
    reader = NetworkInput(options.input, shape, entry, where)
    readout = find_readout(file.model, options.output, where)
    wanted = [name for name in (readout.scores, readout.before, readout.label) if name]
    groups = probe_groups(source, shape)
    session, values = _session(file, entry, reader, wanted, groups, options.batch_size, where)
    return _Parts(
        source=source, where=where, file=file, entry=entry, reader=reader, readout=readout,
        session=session, groups=groups, values=values,
    )  # fmt: skip


def _session(
    file: OnnxFile,
    entry: Entry,
    reader: NetworkInput,
    wanted: list[str],
    groups: list[Array],
    batch: int,
    where: str,
) -> tuple[Session, list[Array]]:
    """Return a session whose batches the network takes, and its values for the probes.

    Raises
    ------
    ModelError
        It runs neither in batches nor one by one, or what it says of an input depends on the
        others in its batch.
    """
    read = [reader.array(x, where) for x in groups]
    rows = np.concatenate(read)

    def opened(size: int, fixed: bool) -> Session:
        return Session(file.model, wanted, entry.name, batch=size, fixed=fixed, where=where)

    session = opened(entry.batch or batch, entry.batch is not None)
    try:
        values = session.run(rows)
    except ModelError:
        if entry.batch is not None or batch == 1:
            raise
        # the file leaves the batch open, and something inside fixes it to one
        session = opened(1, True)
        return session, session.run(rows)
    # fewer rows, in another order: in a batch of its own, each must give the same
    some = rows[: min(3, len(rows))][::-1]
    again = [session.run(some[i : i + 1]) for i in range(len(some))]
    for i, name in enumerate(wanted):
        alone = np.concatenate([found[i] for found in again])[::-1]
        together = values[i][: len(some)]
        if together.dtype.kind == "f" and not _same(alone, together):
            raise ModelError(
                f"{where}: gives an input another {name!r} when other inputs are in its batch; "
                "export it in evaluation mode, with every operation within one input."
            )
    return session, values


def _same(a: Array, b: Array) -> bool:
    scale = float(np.abs(b).max(initial=0.0, where=np.isfinite(b)))
    return a.shape == b.shape and bool(
        np.allclose(a, b, rtol=1e-4, atol=1e-4 * scale, equal_nan=True)
    )


def _kind(parts: _Parts) -> Outputs:
    """Return what the scores are: as declared, by the task, by their operator, by their values."""
    declared = parts.options.outputs
    schema, readout, where = parts.source.schema, parts.readout, parts.where
    scores = table(parts.values[0], where)
    single = scores.shape[1] == 1
    if declared == "logits" and (readout.last == "Softmax" or (readout.last and single)):
        raise ModelError(
            f"{where}: ends in a {readout.last}, and outputs = 'logits' is declared; leave outputs "
            "out: the scores before it are found, and used for gradients."
        )
    if declared != "auto":
        return declared
    if schema is not None and schema.task == "regression":
        return "value"
    if readout.last == "Softmax" or (readout.last and single):
        return "probabilities"
    if readout.last == "Sigmoid":
        raise ModelError(
            f"{where}: ends in a Sigmoid of {scores.shape[1]} columns, which are no probabilities "
            "of classes that exclude each other; declare outputs = 'logits' to read them as scores."
        )
    if single:
        if scores.min() >= 0 and scores.max() <= 1:
            raise ModelError(
                f"{where}: its one output lies between 0 and 1, which may be a probability or a "
                "score; declare outputs = 'probabilities' or 'logits'."
            )
        return "logits"
    return "probabilities" if look_like_probabilities(scores) else "logits"


def _explains(parts: _Parts, scores: Array) -> bool:
    """Whether the values before a softmax or sigmoid are scores of which it makes these."""
    if not parts.readout.before:
        return False
    raw = parts.values[1]
    if raw.size != scores.size or raw.dtype.kind != "f" or not np.isfinite(raw).all():
        return False
    logits = two_columns(raw.reshape(scores.shape).astype(np.float64), "logits")
    made = np.exp(logits - logits.max(axis=1, keepdims=True))
    made /= made.sum(axis=1, keepdims=True)
    return bool(np.abs(made - two_columns(scores, "probabilities")).max() < 1e-5)


def _labels(
    parts: _Parts, columns: int, outputs: Outputs, scores: Array
) -> tuple[tuple[Any, ...], Array]:
    """Return the labels that a label output gives, and the class of each column of the scores."""
    readout, where = parts.readout, parts.where
    order = np.arange(columns, dtype=np.int64)
    if outputs == "value":
        return (), order
    schema = parts.source.schema
    if readout.labels:
        if len(readout.labels) != columns:
            raise ModelError(
                f"{where}: names {len(readout.labels)} labels ({listed(readout.labels)}), and its "
                f"scores have {columns} columns; name the right ones with output = 'NAME'."
            )
        names = schema.classes if schema is not None else ()
        index = match_labels(list(readout.labels), names, parts.options.labels, where)
        return (readout.labels if readout.label else ()), index
    if readout.label:
        _check_codes(parts, two_columns(scores, outputs))
    return (), order


def _check_codes(parts: _Parts, scores: Array) -> None:
    """Refuse a label output that is not the largest score's column, and names no labels."""
    found = parts.values[-1].reshape(len(scores), -1)
    ordered = np.sort(scores, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > 1e-3 * np.abs(ordered[:, -1])
    expected = scores.argmax(axis=1)
    for row in np.flatnonzero(clear):
        if found.shape[1] != 1 or found[row, 0] != expected[row]:
            raise ModelError(
                f"{parts.where}: its output {parts.readout.label!r} says {found[row].tolist()[:3]} "
                f"where the largest score is in column {expected[row]}, and the file does not name "
                "its labels; export it without that output."
            )


def _gradients(
    parts: _Parts, outputs: Outputs, before: bool, index: Array, n_outputs: int
) -> tuple[nn.Module | None, str, Agreement | None, BothRuntimes | None]:
    """Return the differentiable module, what the record says of it, how well it agrees on the
    probes, and what compares it on more.
    """
    options, source = parts.options, parts.source
    if options.gradients is False:
        return None, "none: gradients = false is declared", None, None
    kind: Outputs = "logits" if before else outputs
    value = parts.readout.before if before else parts.readout.scores
    runner = parts.session
    if before:
        runner = Session(
            parts.file.model, [value], parts.entry.name, batch=parts.session.batch,
            fixed=parts.session.fixed, where=parts.where,
        )  # fmt: skip
    try:
        if len(index) != n_outputs:
            raise Unsupported("it knows fewer classes than the data has")
        converted, agreement = convert(
            parts.file.model, value, parts.reader, runner, parts.groups,
            device=source.device, tolerance=options.tolerance, where=parts.where,
        )  # fmt: skip
    except Unsupported as reason:
        if options.gradients:
            raise ModelError(
                f"{parts.where}: gradients = true is declared, and it has no conversion to torch "
                f"({reason}); leave gradients out to audit its predictions alone."
            ) from None
        return None, f"none, since there is no conversion to torch ({reason})", None, None
    module: nn.Module = DataSpaceNetwork(nn.Identity(), converted, kind)
    if (index != np.arange(len(index))).any():
        module = nn.Sequential(module, Columns(np.argsort(index)))
    module = module.to(source.device).eval().requires_grad_(False)
    schema = source.schema
    names = schema.classes if schema is not None else ()
    columns = int(np.prod(parts.values[1 if before else 0].shape[1:]))
    both = BothRuntimes(
        session=runner, converted=converted, device=source.device, tolerance=options.tolerance,
        outputs=kind, names=column_names(kind, columns, index, names), where=parts.where,
    )  # fmt: skip
    return module, _how(converted, before, parts.readout), agreement, both


def _how(converted: Converted, before: bool, readout: Readout) -> str:
    words = "conversion to torch"
    if before:
        words += f", of the scores before the {readout.last}"
    if converted.entry.whole:
        words += ", passed through the rounding to whole pixels"
    return words


def _size(model: Any, module: nn.Module | None) -> str:
    """Return how many parameters it has, or, where nobody knows which they are, numbers."""
    if module is not None:
        return f"{sum(p.numel() for p in module.parameters()):,} parameters"
    stored = sum(int(np.prod(t.dims, dtype=np.int64)) for t in model.graph.initializer)
    return f"{stored:,} stored numbers"


def _summary(model: Any) -> str:
    """Return the layers that count, such as "2 Conv, 1 Gemm"."""
    counts: dict[str, int] = {}
    for node in model.graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    main = sorted((k for k in counts if k in _LAYERS), key=lambda k: -counts[k])
    shown = [f"{counts[name]} {name}" for name in main[:4]]
    return ", ".join(shown) if shown else f"{len(model.graph.node)} nodes"


_LAYERS = (
    "Conv", "ConvTranspose", "Gemm", "GRU", "LinearClassifier", "LinearRegressor", "LSTM",
    "MatMul", "QLinearConv", "QLinearMatMul", "RNN", "SVMClassifier", "SVMRegressor",
    "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor",
)  # fmt: skip


def _facts(
    parts: _Parts,
    outputs: Outputs,
    before: bool,
    gradients: str,
    agreement: Agreement | None,
    count: int,
) -> dict[str, str | int | float]:
    session = parts.session
    taken = f"{outputs} ({parts.readout.scores[:80]!r}"
    taken += f", scores before its {parts.readout.last})" if before else ")"
    facts: dict[str, str | int | float] = {
        "file format": parts.file.words,
        "run with": f"onnxruntime {onnxruntime.__version__}",
        "input transformation": parts.options.input.words(),
        "network input": parts.reader.words(),
        "outputs": taken,
        "gradients": gradients,
    }
    if session.fixed:
        facts["batch"] = f"fixed to {session.batch}"
    if parts.file.external:
        facts["external data"] = parts.file.external
    if count:
        facts["parameters"] = count
    if agreement is not None:
        facts["onnxruntime and torch differ by at most"] = agreement.words()
    return facts

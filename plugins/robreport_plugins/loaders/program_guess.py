"""What a file is that brings its own layers, for a drafted audit: ONNX, torch programs, MATLAB."""

from __future__ import annotations

import math
from pathlib import Path

from robreport import ModelError, ModelGuess
from robreport_plugins.loaders.file_kind import file_kind


def guess_onnx(path: Path) -> ModelGuess | None:
    """Return what an ONNX file holds; None when it is something else.

    Raises
    ------
    ModelError
        It is damaged, or the packages that read it are missing.
    """
    if file_kind(path) != "onnx":
        return None
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise ModelError(
            f"{path.name}: looks like an ONNX network, and the package onnx is missing; "
            "pip install robreport[onnx]."
        ) from None
    from robreport_plugins.loaders.onnx_file import read_onnx
    from robreport_plugins.loaders.onnx_input import find_entry

    network = read_onnx(path, None, path.name).model
    entry = find_entry(network, path.name)
    shape = entry.shape or ()
    width = math.prod(n or 1 for n in shape) if shape and None not in shape else None
    count = len(network.graph.node)
    sizes = " x ".join("any" if n is None else str(n) for n in shape) or "any shape"
    # scores are the floating-point output; a file of a classifier's may have labels beside them
    found = [o.type.tensor_type for o in network.graph.output if o.type.tensor_type.elem_type == 1]
    last = found[0].shape.dim[-1].dim_value if found and found[0].shape.dim else 0
    notes: tuple[str, ...] = ()
    if last == 1:
        notes = (
            "It has one output: in an audit of classes that is the score of the second of two, in "
            "one of values the value.",
        )
    return ModelGuess(
        kind=f"ONNX network, {count:,} operators, inputs of {sizes}",
        notes=notes,
        task="classification" if last > 1 else "",
        width=width,
    )


def guess_program(path: Path, kind: str) -> ModelGuess | None:
    """Return that a file is a torch program of that kind, which is not opened; else None."""
    if file_kind(path) != kind:
        return None
    reasons = {
        "torch.export": "torch.export.load unpickles and evaluates parts of it",
        "torchscript": "it holds code that is run",
    }
    return ModelGuess(
        kind=f"a {kind} program",
        trust=reasons[kind],
        notes=(
            "Its output is taken for scores before the softmax; say outputs = 'probabilities' or "
            "'value' where it is not.",
        ),
    )


def guess_matlab(path: Path) -> ModelGuess | None:
    """Return what a network kept as MATLAB arrays is; None when the file is something else.

    Raises
    ------
    ModelError
        It is damaged, or its arrays are no such network.
    """
    if file_kind(path) != "mat":
        return None
    from robreport_plugins.loaders.layer_list import parse_layers, summarise
    from robreport_plugins.loaders.mat_file import read_network

    state, written = read_network(path, 2, 1, path.name)
    convolutions = sum(layer[0] == "conv" for layer in written)
    notes: tuple[str, ...] = ()
    if convolutions:
        notes = (
            "The file does not say stride and padding of its convolutions: 2 and 1 are a guess, "
            "which the size of its first linear layer has to fit.",
        )
    return ModelGuess(
        kind=f"network of MATLAB arrays, {summarise(parse_layers(written))}, "
        f"{sum(v.numel() for v in state.values()):,} numbers",
        options={"stride": 2, "padding": 1} if convolutions else {},
        notes=notes,
        task="classification",
    )

"""What a file of weights is, for a drafted audit, and its layers where they leave no doubt."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robreport import ModelGuess
from robreport_plugins.loaders.file_kind import file_kind
from robreport_plugins.loaders.wording import listed


def guess_weights(path: Path) -> ModelGuess | None:
    """Return what a safetensors file or state dict holds; None when it is neither.

    Raises
    ------
    ModelError
        It is damaged.
    """
    kind = file_kind(path)
    if kind not in ("safetensors", "state dict"):
        return None
    from robreport_plugins.loaders.weights import read_weights

    state, form = read_weights(path, path.name)
    shapes = {key: tuple(int(n) for n in value.shape) for key, value in state.items()}
    chain = linear_chain(shapes)
    count = sum(value.numel() for value in state.values())
    words = f"PyTorch weights ({form}), {count:,} numbers in {len(shapes)} arrays"
    if not chain:
        each = listed((f"{key} {list(shape)}" for key, shape in shapes.items()), 8)
        return ModelGuess(
            kind=words,
            missing={
                "architecture": "weights do not say how they are connected: 'module:callable' of "
                "a Python file beside this one that returns the network, or a list of layers "
                f"such as [['conv', '0', 2, 1], ['relu'], ['flatten'], ['linear', '5']]; it has "
                f"{each}."
            },
        )
    layers: list[list[str]] = [["flatten"]]
    for key in chain:
        layers += [["relu"]] if len(layers) > 1 else []
        layers.append(["linear", key])
    width, outputs = shapes[f"{chain[0]}.weight"][1], shapes[f"{chain[-1]}.weight"][0]
    notes = ["The layers are guessed from the weights' shapes, which allow one order only."]
    if len(chain) > 1:
        notes.append(
            "What stands between them no file of weights says: ReLU is a guess, so compare the "
            "accuracy below with what you know."
        )
    options: dict[str, Any] = {"architecture": layers}
    if outputs == 1:
        options["outputs"] = "value"
        notes.append(
            "It has one output, taken for a value; if it is the score of a second class, say "
            "outputs = 'logits' here and task = 'classification' below."
        )
    return ModelGuess(
        kind=words,
        options=options,
        notes=tuple(notes),
        task="regression" if outputs == 1 else "classification",
        width=width,
    )


def linear_chain(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return the keys of linear layers in the only order in which they fit; empty for none.

    Anything beside weights (out, in) and biases (out,) leaves the order or the kind of a layer
    open, and so do two layers that could be exchanged.
    """
    keys = sorted(
        (key.removesuffix(".weight") for key in shapes if key.endswith(".weight")), key=_natural
    )
    biases = {key.removesuffix(".bias") for key in shapes if key.endswith(".bias")}
    if not keys or len(keys) + len(biases) != len(shapes) or not biases <= set(keys):
        return []
    for key in keys:
        weight = shapes[f"{key}.weight"]
        if len(weight) != 2 or (key in biases and shapes[f"{key}.bias"] != weight[:1]):
            return []
    pairs = itertools.pairwise(keys)
    fits = all(shapes[f"{a}.weight"][0] == shapes[f"{b}.weight"][1] for a, b in pairs)
    # numbered layers are in the order of their numbers; others only where no order but one fits
    numbered = all(re.search(r"[0-9]", key) for key in keys)
    return keys if fits and (numbered or len(keys) == 1) else []


def _natural(key: str) -> list[tuple[int, str]]:
    """Return a key to sort by in which layer 10 comes after layer 9."""
    parts = re.split(r"([0-9]+)", key)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]

"""Trained classifiers as files that can be shipped: safetensors, a JSON beside it, and ONNX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Context
from robreport_plugins.linear.dataset import Dataset
from robreport_plugins.linear.fitted import Campaign, Fitted
from robreport_plugins.linear.onnx_bytes import linear_onnx
from robreport_plugins.linear.params import HingeParams

ARCHITECTURE = [["flatten"], ["linear", "linear"]]


def layer(fitted: Fitted, data: Dataset) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return weight ``(k, d)`` and bias ``(k,)`` over the data as it is, one row for each class.

    A scaling is multiplied in, columns that were left out get weight 0, and of two classes each
    gets half of the score, with its own sign.
    """
    d = int(np.prod(data.schema.input_shape))
    weight = np.zeros((len(fitted.classifier.models), d))
    weight[:, data.columns.taking] = fitted.classifier.weights / data.scale.factor
    bias = np.array([m.b for m in fitted.classifier.models])
    bias = bias - weight[:, data.columns.taking] @ data.scale.shift
    if len(weight) == 1:
        weight, bias = (np.concatenate([-0.5 * part, 0.5 * part]) for part in (weight, bias))
    return weight.astype(np.float32), bias.astype(np.float32)


def describe(fitted: Fitted, data: Dataset) -> dict[str, Any]:
    """Return what the JSON beside the weights says, how to load them included."""
    one = fitted.classifier
    return {
        "format": "robreport linear classifier 1",
        "classes": [
            data.schema.classes[i] if data.schema.classes else str(i) for i in data.class_ids
        ],
        "class_numbers_in_the_data": list(data.class_ids),
        "input_shape": list(data.schema.input_shape),
        "features": list(data.schema.features),
        "columns_without_weight": [
            *data.columns.left_out,
            *(f"{name} (constant)" for name in data.columns.constant),
        ],
        "trained": {
            "norm": str(one.norm),
            "eps": one.eps.text,
            "eps_unit": data.scale.unit,
            "solver": one.solver,
            "seed": "the published start" if one.seed is None else one.seed,
            "training_examples": data.train.n,
        },
        "weights": "model.safetensors: linear.weight (classes, inputs) and linear.bias, float32, "
        "over the flattened input in the units of the data; the class is the largest logit",
        "onnx": "model.onnx: input (n, ...) to logits (n, classes)",
        "load": {
            "loader": "torch",
            "path": "model.safetensors",
            "architecture": ARCHITECTURE,
            "outputs": "logits",
        },
    }


def write(fitted: Fitted, data: Dataset, folder: Path) -> None:
    """Write the three files of one classifier."""
    from safetensors.numpy import save_file

    weight, bias = layer(fitted, data)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"linear.weight": weight, "linear.bias": bias}, folder / "model.safetensors")
    text = json.dumps(describe(fitted, data), indent=2, ensure_ascii=False, sort_keys=False)
    (folder / "model.json").write_text(text + "\n", encoding="utf-8")
    (folder / "model.onnx").write_bytes(
        linear_onnx(weight, bias, data.schema.input_shape, "linear")
    )


def exported(
    campaign: Campaign, data: Dataset, params: HingeParams, ctx: Context
) -> dict[str, Path]:
    """Return the folder of each classifier; nothing where artifacts are not kept."""
    if not params.export or ctx.artifact is None:
        return {}

    def build(folder: Path) -> None:
        for fitted in campaign.fitted:
            write(fitted, data, folder / folder_name(fitted))

    # What decides the weights beside model, data and seed: the parameters and the threats.
    threats = ";".join(f"{t.name}:{t.norm}:{','.join(map(str, t.eps))}" for t in ctx.threats)
    place = ctx.artifact(
        f"models {params.model_dump_json()} {threats} threads {ctx.threads}", build
    )
    return {f"model.{f.key}": place / folder_name(f) for f in campaign.fitted}


def folder_name(fitted: Fitted) -> str:
    """Return the name of a classifier's folder: linear-linf-eps-0.1."""
    head, _, rest = fitted.key.partition(".")
    optimum = rest.endswith(".optimum")
    return f"linear-{head}-{rest.removesuffix('.optimum')}{'-optimum' if optimum else ''}"

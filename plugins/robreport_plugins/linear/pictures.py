"""Weights and misclassified inputs as pictures, for image data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from robreport import DataSchema, ImageGrid
from robreport_plugins.linear.dataset import Dataset
from robreport_plugins.linear.fitted import Fitted
from robreport_plugins.linear.tasks import Task
from robreport_plugins.linear.words import listed, number, percent
from robreport_plugins.linear.wrong import Wrong

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

_MOST_CLASSES = 10


def is_image(schema: DataSchema) -> bool:
    """Whether inputs can be shown as pictures."""
    return schema.layout == "image" and len(schema.input_shape) == 3


def weight_pictures(members: Sequence[Fitted], data: Dataset, task: Task) -> ImageGrid:
    """Return each classifier's weights: grey is zero, white the largest, black its minus."""
    shape = data.schema.input_shape
    several = len(members[0].classifier.models) > 1
    lines = members[0].classifier.models[:_MOST_CLASSES] if several else [None]
    pictures, cells = [], []
    for i, _ in enumerate(lines):
        row, words = [], []
        for f in members:
            whole = np.zeros(int(np.prod(shape)))
            whole[data.columns.taking] = f.classifier.models[i].w
            picture = whole.reshape(shape).mean(axis=0)
            peak = float(np.abs(picture).max())
            row.append(_shades(0.5 + 0.5 * picture / peak if peak else np.full_like(picture, 0.5)))
            words.append(f"\u00b1{number(peak)}")
        pictures.append(np.stack(row))
        cells.append(tuple(words))
    shares = listed([f"{f.label} {percent(f.wiped)}" for f in members])
    channels = f" The mean of {shape[0]} channels is shown." if shape[0] > 1 else ""
    rest = (
        f" Of {len(data.classes)} classes, the first {_MOST_CLASSES} are shown."
        if several and len(data.classes) > _MOST_CLASSES else ""
    )  # fmt: skip
    positive = (
        "each class against the rest" if several
        else f"white speaks for {data.classes[1]}, black for {data.classes[0]}"
    )  # fmt: skip
    return ImageGrid(
        title=f"Weights, {task.norm.symbol}",
        images=np.stack(pictures),
        caption=(
            f"Mid-grey is 0, white and black are the size under each picture; {positive}. "
            f"Wiped-out weights: {shares}.{channels}{rest}"
        ),
        alt=f"Weights of {len(members)} classifiers as pictures; wiped out weights: {shares}.",
        row_labels=tuple(data.classes[:_MOST_CLASSES]) if several else (),
        column_labels=tuple(f.label for f in members),
        cell_labels=tuple(cells),
    )


def wrong_pictures(f: Fitted, wrong: Wrong, data: Dataset, task: Task) -> ImageGrid | None:
    """Return inputs that are wrong as they are or once perturbed, the nearest first."""
    columns = max(wrong.clean.size, wrong.turned.size)
    if not columns:
        return None
    shape = data.schema.input_shape
    test = data.test

    def picture(x: Floats) -> Pixels:
        whole = np.zeros(int(np.prod(shape)))
        whole[data.columns.taking] = x
        return _picture(whole.reshape(shape), low, high)

    low, high = _range(data, wrong)
    blank = np.full_like(picture(test.x[0]), 255)
    rows, cells, labels = [], [], []
    if wrong.clean.size:
        rows.append([picture(test.x[i]) for i in wrong.clean.tolist()])
        said = zip(wrong.clean, wrong.clean_as, wrong.clean_score, strict=True)
        cells.append([_said(data, int(test.y[i]), int(as_), score) for i, as_, score in said])
        labels.append("wrong as it is")
    if wrong.turned.size:
        rows.append([picture(test.x[i]) for i in wrong.turned.tolist()])
        cells.append([f"row {int(test.index[i])}: {data.classes[int(test.y[i])]}, distance "
                      f"{number(float(f.attacked.radius[i]))}" for i in wrong.turned])  # fmt: skip
        labels.append("right as it is")
        rows.append([picture(x) for x in wrong.moved])
        said = zip(wrong.turned, wrong.turned_as, wrong.turned_score, strict=True)
        cells.append([_said(data, int(test.y[i]), int(as_), score) for i, as_, score in said])
        labels.append(f"perturbed by \u03b5 = {number(wrong.eps)}")
    # White fills rows that have too few pictures.
    filled = [row + [blank] * (columns - len(row)) for row in rows]
    words = tuple(tuple(row + [""] * (columns - len(row))) for row in cells)
    return ImageGrid(
        title=f"Nearest misclassified inputs, {f.label}, {task.norm.symbol}",
        images=np.stack([np.stack(row) for row in filled]),
        caption=(
            f"{wrong.n_clean:,} of {test.n:,} test inputs are wrong as they are, "
            f"{wrong.n_turned:,} more can be turned by \u03b5 = {number(wrong.eps)}; those nearest "
            "the decision boundary are shown. Under each picture: class \u2192 decision"
            + (", score." if data.binary else ".")
        ),
        alt=(
            f"Pictures of {wrong.clean.size} misclassified inputs and of {wrong.turned.size} "
            f"inputs before and after the smallest declared perturbation; {wrong.n_clean:,} are "
            f"wrong as they are and {wrong.n_turned:,} can be turned."
        ),
        row_labels=tuple(labels),
        cell_labels=words,
    )


def _said(data: Dataset, own: int, decided: int, score: float) -> str:
    score_word = f", {number(float(score))}" if data.binary else ""
    return f"{data.classes[own]} \u2192 {data.classes[decided]}{score_word}"


def _range(data: Dataset, wrong: Wrong) -> tuple[float, float]:
    """Return what is black and what is white: the data's bounds, else what is shown."""
    bounds = data.schema.bounds
    if bounds is not None and all(isinstance(end, int | float) for end in bounds):
        low, high = (float(end) for end in bounds if isinstance(end, int | float))
        return low, high
    shown = [data.test.x[wrong.clean], data.test.x[wrong.turned], wrong.moved]
    values = np.concatenate([part.reshape(-1) for part in shown])
    low, high = float(values.min()), float(values.max())
    return low, high if high > low else low + 1.0


def _picture(x: Floats, low: float, high: float) -> Pixels:
    """Return ``(h, w)`` or ``(h, w, 3)`` of uint8 from ``(c, h, w)``."""
    part = (x - low) / (high - low)
    if x.shape[0] == 3:
        return _shades(np.moveaxis(part, 0, 2))
    return _shades(part.mean(axis=0))


def _shades(x: Floats) -> Pixels:
    pixels: Pixels = np.rint(255 * np.clip(x, 0.0, 1.0)).astype(np.uint8)
    return pixels

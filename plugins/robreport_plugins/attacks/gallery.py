"""Broken inputs shown: pictures of images, rows of tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from robreport import Column, DataSchema, ImageGrid, Table, ThreatModel
from robreport_plugins.attacks.campaign import Campaign, Shown
from robreport_plugins.attacks.rules import symbol
from robreport_plugins.attacks.target import arena

Floats = npt.NDArray[np.floating]
Pixels = npt.NDArray[np.uint8]

FEATURES_SHOWN = 3


def image_gallery(campaign: Campaign, threat: ThreatModel, schema: DataSchema) -> ImageGrid | None:
    """Return clean, perturbed and perturbation side by side; None when there is nothing to show."""
    shown = _within(campaign, threat)
    if not shown or schema.layout != "image" or len(campaign.target.x.shape) != 4:
        return None
    x = np.stack([campaign.target.x[s.row] for s in shown]).astype(np.float64)
    x_adv = np.stack([s.x_adv for s in shown]).astype(np.float64)
    delta = x_adv - x
    peak = float(np.abs(delta).max()) or 1.0
    low, high = _range(campaign, x, x_adv)
    pictures = [
        _picture((x - low) / (high - low)),
        _picture((x_adv - low) / (high - low)),
        _picture(0.5 + 0.5 * delta / peak),
    ]
    names = schema.classes
    cells = tuple(
        (
            _class(names, int(campaign.target.y[s.row])),
            f"{_class(names, s.predicted)} ({s.attack}, \u03b5 = {s.eps:g})",
            f"size {s.size:.3g}",
        )
        for s in shown
    )
    channels = campaign.target.x.shape[1]
    mixed = "" if channels in (1, 3) else f" Grey is the mean of {channels} channels."
    norm = symbol(threat)
    return ImageGrid(
        title=f"Inputs that an attack broke, {norm} (threat {threat.name})",
        images=np.stack(pictures, axis=1),
        caption=(
            "The first broken inputs in the order of the data, each with the smallest perturbation "
            "found. The perturbation is scaled: mid-grey is no change, black is "
            f"\u2212{peak:.3g} and white +{peak:.3g} in input units, the largest change shown "
            f"here.{mixed}"
        ),
        alt=(
            f"{len(shown)} rows of three pictures: an input, the same input after an attack in "
            f"{norm}, and the difference enlarged; labels give the classes."
        ),
        row_labels=tuple(f"row {int(campaign.target.index[s.row])}" for s in shown),
        column_labels=("clean", "perturbed", "perturbation, scaled"),
        cell_labels=cells,
    )


def example_table(campaign: Campaign, threat: ThreatModel, schema: DataSchema) -> Table | None:
    """Return broken rows with the features that changed most; None when there are none."""
    shown = _within(campaign, threat)
    if not shown or campaign.target.x.ndim != 2:
        return None
    names = schema.features or tuple(f"feature {i}" for i in range(campaign.target.x.shape[1]))
    words = [schema.categories.get(name, ()) for name in names]
    space = campaign.target.space(threat)
    unit = np.ones(len(names)) if space.unit is None else space.unit
    rows = []
    for s in shown:
        before = campaign.target.x[s.row].astype(np.float64)
        change = s.x_adv.astype(np.float64) - before
        # another category counts 1, however far apart their codes are
        coded = np.array([bool(known) for known in words]) & (change != 0)
        sizes = np.where(coded, 1.0, np.abs(change) / unit)
        top = np.argsort(-sizes, kind="stable")[:FEATURES_SHOWN]
        changes = "; ".join(
            f"{names[i]}: {_written(before[i], words[i])} \u2192 {_written(s.x_adv[i], words[i])}"
            for i in top
            if change[i] != 0
        )
        rows.append(
            (
                int(campaign.target.index[s.row]),
                _class(schema.classes, int(campaign.target.y[s.row])),
                _class(schema.classes, s.predicted),
                s.attack,
                s.eps,
                s.size,
                int(np.count_nonzero(change)),
                changes,
            )
        )
    norm = symbol(threat)
    return Table(
        title=f"Inputs that an attack broke, {norm} (threat {threat.name})",
        columns=(
            Column(key="row", title="row", kind="integer"),
            Column(key="label", title="label"),
            Column(key="predicted", title="predicted"),
            Column(key="attack", title="attack"),
            Column(key="eps", title="\u03b5", kind="number"),
            Column(key="size", title=f"size ({norm})", kind="number"),
            Column(key="changed", title="features changed", kind="integer"),
            Column(key="changes", title="largest changes"),
        ),
        rows=tuple(rows),
        caption="The first broken inputs in the order of the data, each with the smallest "
        "perturbation found.",
    )


def _written(value: float, words: Sequence[str]) -> str:
    """Return a value as a category's own word, a whole number in full, or four digits."""
    whole = float(value).is_integer() and abs(value) < 1e15
    if whole and 0 <= value < len(words):
        return words[int(value)]
    return f"{value:,.0f}" if whole else f"{value:.4g}"


def _within(campaign: Campaign, threat: ThreatModel) -> Sequence[Shown]:
    """The shown examples of the threat's norm that fell at a radius it declares or below."""
    largest = max(eps.value for eps in threat.eps)
    return [s for s in campaign.shown.get(arena(threat), ()) if s.size <= largest * (1 + 1e-9)]


def _range(campaign: Campaign, x: Floats, x_adv: Floats) -> tuple[float, float]:
    """What is black and what is white: the data's bounds where finite, else what is shown."""
    low, high = float(campaign.target.low.min()), float(campaign.target.high.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        low, high = float(min(x.min(), x_adv.min())), float(max(x.max(), x_adv.max()))
    return low, high if high > low else low + 1.0


def _picture(x: Floats) -> Pixels:
    """Return ``(n, h, w)`` or ``(n, h, w, 3)`` of uint8 from ``(n, c, h, w)`` in [0, 1]."""
    pixels = np.rint(np.clip(x, 0.0, 1.0) * 255).astype(np.uint8)
    if x.shape[1] == 1:
        return pixels[:, 0]
    if x.shape[1] == 3:
        return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
    return np.asarray(np.rint(np.clip(x.mean(axis=1), 0.0, 1.0) * 255), dtype=np.uint8)


def _class(names: Sequence[str], code: int) -> str:
    return names[code] if 0 <= code < len(names) else str(code)

"""Small synthetic audits: data that can be learned, and a model that offers what is asked."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from robreport.bundle import Bundle, DataSchema, ModelHandle, Needs, Split
from robreport.kept import arrays_digest
from robreport.testing.models import LinearRegressor, PredictionsOnly, SmallNet, StumpForest
from robreport.testing.oracle import LinearOracle

Array = npt.NDArray[Any]
Layout = Literal["table", "image"]
ModelName = Literal["auto", "linear", "network", "stumps", "predictions"]

SHAPES: dict[str, tuple[int, ...]] = {"table": (6,), "image": (1, 8, 8)}
CLASSIFICATION_ONLY = Needs.CLASSIFICATION | Needs.PROBABILITIES | Needs.LOGITS
DIFFERENTIABLE = Needs.LOGITS | Needs.GRADIENTS | Needs.PARAMETERS
OF_THE_MODEL = (
    DIFFERENTIABLE
    | Needs.PROBABILITIES
    | Needs.REFIT
    | Needs.TREES
    | Needs.REGRESSION
    | Needs.CLASSIFICATION
)


def make_bundle(
    needs: Needs = Needs.NONE,
    *,
    seed: int = 0,
    n: int = 60,
    task: Literal["classification", "regression"] | None = None,
    classes: int = 3,
    layout: Layout = "table",
    model: ModelName = "auto",
    splits: Iterable[str] | None = None,
) -> Bundle:
    """Return a small audit's bundle that offers at least `needs`.

    Inputs lie in [0, 1]: classes are noisy clouds around seeded centres, a few of them on the
    wrong side; regression targets are linear in the inputs with some curvature and noise. The
    same seed gives the same split, whatever else is asked for.

    Parameters
    ----------
    needs : Needs
        What model and data must offer. `guarded` narrows a bundle to exactly that.
    seed : int
    n : int
        Examples in train and in test; the other splits have half as many.
    task : "classification" or "regression"
        Follows from `needs` when left out, else classification.
    classes : int
    layout : "table" or "image"
        Six float64 columns, or 8 × 8 float32 pictures in one channel.
    model : str
        ``auto`` is the simplest that offers `needs`: ``predictions``, ``linear`` (`LinearOracle`,
        or a linear regressor), ``stumps``; ``network`` is a small torch network.
    splits : iterable of str or None
        Roles; by default test and calibration, train for MEMBERS and REFIT, two of ``ood.*`` for
        OOD and two of ``shift.*`` for SHIFT.

    Raises
    ------
    ValueError
        No such model, layout or role, sizes too small, or `needs` that no single model meets.
    """
    if n < 2 or classes < 2:
        raise ValueError(f"n and classes must be at least 2, found n={n}, classes={classes}")
    if layout not in SHAPES:
        raise ValueError(f"layout must be 'table' or 'image', found {layout!r}")
    chosen = _task(needs, task)
    roles = tuple(splits) if splits is not None else _roles(needs)
    data = _Synthetic(seed=seed, n=n, task=chosen, classes=classes, layout=layout)
    handle = _model(needs, model, data)
    missing = (needs & OF_THE_MODEL) & ~handle.offers
    if missing:
        raise ValueError(f"the {handle.name} model does not offer {', '.join(missing.words)}")
    made = {role: data.split(role) for role in roles}
    return Bundle(
        model=handle,
        splits=made,
        schema=data.schema,
        offers=handle.offers | offered_by(made, chosen),
        digests={"model": _model_digest(handle, data), **_digests(made)},
    )


def offered_by(splits: Mapping[str, Split], task: str) -> Needs:
    """Return what the splits offer: LABELS, MEMBERS, OOD, SHIFT and the task."""
    found = Needs.REGRESSION if task == "regression" else Needs.CLASSIFICATION
    if "test" in splits and splits["test"].y is not None:
        found |= Needs.LABELS
    if "train" in splits and "test" in splits:
        found |= Needs.MEMBERS
    if any(role.startswith("ood.") for role in splits):
        found |= Needs.OOD
    if any(role.startswith("shift.") for role in splits):
        found |= Needs.SHIFT
    return found


def changed(
    bundle: Bundle,
    *,
    rows: slice = slice(None),
    relabel: Callable[[Array], Array] = lambda y: y,
) -> Bundle:
    """Return `bundle` with only these rows of each split, and labels passed through `relabel`."""
    made = {}
    for role, split in bundle.splits.items():
        x = split.x[rows].copy()
        y = None if split.y is None else relabel(split.y[rows].copy())
        index = split.index[rows]
        made[role] = replace(split, x=x, y=y, index=index, digest=arrays_digest(x, y, index))
    return replace(bundle, splits=made, digests={**bundle.digests, **_digests(made)})


class _Synthetic:
    """The data of one seed; every role has a random stream of its own."""

    def __init__(self, *, seed: int, n: int, task: str, classes: int, layout: str) -> None:
        self.seed, self.n, self.task, self.classes = seed, n, task, classes
        self.shape = SHAPES[layout]
        self.dtype = np.float32 if layout == "image" else np.float64
        width = int(np.prod(self.shape))
        rng = self._rng("world")
        self.centres = rng.uniform(0.25, 0.75, size=(classes, width))
        self.basis = rng.normal(size=(3, width))
        self.slope = rng.normal(size=3)
        # clouds whose overlap is alike in 6 and in 64 dimensions
        gap = min(
            float(np.linalg.norm(a - b))
            for i, a in enumerate(self.centres)
            for b in self.centres[:i]
        )
        self.noise = min(0.25, gap / 3.2)
        classification = task == "classification"
        self.schema = DataSchema(
            task=task,
            input_shape=self.shape,
            layout=layout,
            classes=tuple(f"class {i}" for i in range(classes)) if classification else (),
            features=tuple(f"feature {i}" for i in range(width)) if layout == "table" else (),
            bounds=(0.0, 1.0),
            target="class" if classification else "value",
        )

    def _rng(self, stream: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(stream.encode())])

    def split(self, role: str) -> Split:
        head, _, name = role.partition(".")
        plain = ("train", "test", "calibration")
        if (role not in plain and head not in ("ood", "shift", "extra")) or (
            head not in plain and not name
        ):
            raise ValueError(
                f"role must be train, test, calibration, ood.NAME, shift.NAME or extra.NAME, "
                f"found {role!r}"
            )
        n = self.n if role in ("train", "test") else max(2, self.n // 2)
        rng = self._rng(role)
        y: Array | None
        if head == "ood":
            x, y = rng.uniform(size=(n, self.basis.shape[1])), None
        else:
            x, y = self._draw(rng, n)
        if head == "shift":
            x = 0.8 * x + 0.1 + 0.1 * rng.normal(size=x.shape)
        x = np.ascontiguousarray(np.clip(x, 0, 1).reshape(n, *self.shape), dtype=self.dtype)
        index = np.arange(n, dtype=np.int64)
        return Split(
            role=role,
            x=x,
            y=y,
            index=index,
            digest=arrays_digest(x, y, index),
            source=f"synthetic, seed {self.seed}",
        )

    def _draw(self, rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        width = self.basis.shape[1]
        if self.task == "regression":
            # three hidden causes, so that few rows suffice in any number of columns
            hidden = rng.uniform(-1, 1, size=(n, 3))
            x = 0.5 + 0.1 * hidden @ self.basis + 0.02 * rng.normal(size=(n, width))
            y = hidden @ self.slope + 0.3 * np.sin(3 * hidden[:, 0]) + 0.1 * rng.normal(size=n)
            return x, y
        y = rng.permutation(np.arange(n, dtype=np.int64) % self.classes)
        return self.centres[y] + self.noise * rng.normal(size=(n, width)), y


def _model_digest(handle: ModelHandle, data: _Synthetic) -> str:
    """Tell models of different behaviour apart, as a file's digest would."""
    return arrays_digest(np.asarray(handle.predict(data.split("train").x)), None, None)


def _task(needs: Needs, task: str | None) -> str:
    wants_classes = bool(needs & CLASSIFICATION_ONLY)
    wants_values = Needs.REGRESSION in needs
    if wants_classes and wants_values:
        words = ", ".join((needs & CLASSIFICATION_ONLY).words)
        raise ValueError(f"no bundle offers regression and {words}: an audit has one task")
    implied = "regression" if wants_values else "classification" if wants_classes else None
    if task is None:
        return implied or "classification"
    if task not in ("classification", "regression"):
        raise ValueError(f"task must be 'classification' or 'regression', found {task!r}")
    if implied is not None and task != implied:
        raise ValueError(f"these needs imply {implied}, found task={task!r}")
    return task


def _roles(needs: Needs) -> tuple[str, ...]:
    roles = ["test", "calibration"]
    if needs & (Needs.MEMBERS | Needs.REFIT):
        roles.insert(0, "train")
    if Needs.OOD in needs:
        roles += ["ood.first", "ood.second"]
    if Needs.SHIFT in needs:
        roles += ["shift.first", "shift.second"]
    return tuple(roles)


def _model(needs: Needs, name: str, data: _Synthetic) -> ModelHandle:
    train = data.split("train")
    x, y = train.x, train.labels
    outputs = 1 if data.task == "regression" else data.classes
    if name == "auto":
        if Needs.TREES in needs:
            name = "stumps"
        else:
            name = "linear" if needs & (DIFFERENTIABLE | Needs.PROBABILITIES | Needs.REFIT) else ""
            name = name or "predictions"
    if name == "stumps":
        return StumpForest.fitted(x, y, outputs=outputs, task=data.task)
    if name == "network":
        return SmallNet.fitted(x, y, outputs=outputs, task=data.task, seed=data.seed)
    if name not in ("linear", "predictions"):
        raise ValueError(
            f"model must be auto, linear, network, stumps or predictions, found {name!r}"
        )
    linear: ModelHandle
    if data.task == "regression":
        linear = LinearRegressor.fitted(x, y)
    else:
        linear = LinearOracle.fitted(x, y, classes=data.classes)
    return PredictionsOnly(linear) if name == "predictions" else linear


def _digests(splits: Mapping[str, Split]) -> dict[str, str]:
    return {role: split.digest for role, split in splits.items()}

"""Choose the torch twin that agrees with its estimator, or say why there is none."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from robreport_plugins.loaders.frame_input import FrameInput
from robreport_plugins.loaders.table_twins import is_of_table, table_candidates
from robreport_plugins.loaders.twins import Columns, NoTwin, candidates

Array = npt.NDArray[Any]

_PROBES = 64
_TOLERANCE = 1e-8


def verified_twin(estimator: Any, frame: FrameInput) -> tuple[nn.Sequential, str]:
    """Return a twin whose outputs were compared with the estimator's, and what they are.

    Probe inputs are seeded: zeros, uniform and normal rows, and those on the scale of a first
    standardising step. In float64 a twin must match ``predict_proba``, ``decision_function`` or
    ``predict`` to 1e-8 (relative for unbounded outputs), so a class that a future scikit-learn
    computes in another way loses its twin, and is never given a wrong one.

    Parameters
    ----------
    estimator : fitted estimator or pipeline
    frame : FrameInput
        How rows of data space become what the estimator reads.

    Raises
    ------
    NoTwin
        A part has no twin, or none of the candidates agrees.
    """
    of_table = is_of_table(estimator, frame)
    try:
        possible = table_candidates(estimator, frame) if of_table else candidates(estimator)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise NoTwin(f"fitted attributes of another form ({type(error).__name__})") from None
    x = _probe_rows(estimator, frame) if of_table else _probe_inputs(estimator, len(frame.order))
    for twin, kind in possible:
        twin.eval().requires_grad_(False)
        with torch.inference_mode():
            out = twin(torch.from_numpy(x)).numpy()
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            # An estimator fitted on named columns remarks that these have no names.
            warnings.simplefilter("ignore", UserWarning)
            agrees = _agrees(estimator, frame.table(x) if of_table else x, out, kind)
        if agrees:
            if not of_table and frame.order.tolist() != list(range(frame.width)):
                twin = nn.Sequential(Columns(frame.order), *twin)
            return twin, kind
    raise NoTwin(f"its outputs do not follow the known formula of {type(estimator).__name__}")


def _probe_inputs(estimator: Any, n_features: int) -> Array:
    rng = np.random.default_rng(0)
    uniform = rng.random((_PROBES, n_features))
    normal = rng.standard_normal((_PROBES, n_features))
    rows = [np.zeros((1, n_features)), uniform, normal]
    first = estimator.steps[0][1] if hasattr(estimator, "steps") else None
    scale, mean = getattr(first, "scale_", None), getattr(first, "mean_", None)
    if mean is not None and scale is not None:
        rows.append(mean + normal * scale)
    return np.concatenate(rows)


def _probe_rows(estimator: Any, frame: FrameInput) -> Array:
    """Return rows of data space with random codes, and missing values where the data has them."""
    rng = np.random.default_rng(0)
    rows = _probe_inputs(estimator, frame.width)
    rows = np.concatenate([rows, 1000.0 * rng.standard_normal(rows.shape)])
    for column, codes in frame.known.items():
        picked = rng.choice(np.array(codes or (0,)), size=len(rows))
        rows[:, frame.order[column]] = picked
    gaps = rows.copy()
    for column in sorted(frame.missing):
        gaps[rng.random(len(gaps)) < 0.3, frame.order[column]] = np.nan
    try:
        estimator.predict(frame.table(gaps))
    except (ValueError, TypeError):
        return rows  # it takes no missing values, and says so when it meets one
    return np.concatenate([rows, gaps])


def _agrees(estimator: Any, x: Array, out: Array, kind: str) -> bool:
    if not np.isfinite(out).all():
        return False
    if kind == "values":
        return _close(out[:, 0], np.asarray(estimator.predict(x)).reshape(-1))
    if kind == "log-probabilities":
        raised = np.exp(out - out.max(axis=1, keepdims=True))
        return _close(raised / raised.sum(axis=1, keepdims=True), estimator.predict_proba(x))
    decision = np.asarray(estimator.decision_function(x))
    if decision.ndim == 1:
        return out.shape[1] == 2 and _close(out[:, 1], decision)
    return _close(out, decision)


def _close(a: Array, b: Array) -> bool:
    if a.shape != b.shape:
        return False
    scale = max(1.0, float(np.abs(b).max(initial=0.0)))
    return bool(np.abs(a - b).max(initial=0.0) <= _TOLERANCE * scale)

"""What a file of a scikit-learn estimator is, for a drafted audit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robreport import ModelError, ModelGuess
from robreport_plugins.loaders.file_kind import file_kind


def guess_estimator(path: Path) -> ModelGuess | None:
    """Return what a skops, pickle or joblib file holds; None when it is none of them.

    A pickle is not opened: who drafts the audit says first whether it is trusted.

    Raises
    ------
    ModelError
        A skops file that is damaged, or holds no fitted estimator.
    """
    kind = file_kind(path)
    if kind == "pickle" or (kind == "packed" and ".joblib" in path.name):
        return ModelGuess(
            kind="a pickle or joblib file",
            trust="reading one runs whatever code it holds",
            certainty=0.5,
        )
    if kind != "skops":
        return None
    from robreport_plugins.loaders.estimator_file import read_estimator
    from robreport_plugins.loaders.sklearn_model import is_regression

    try:
        estimator, _ = read_estimator(path, trusted=False, where=path.name)
    except ModelError as error:
        if "trusted = true" not in str(error):
            raise
        return ModelGuess(
            kind="a scikit-learn estimator (skops)",
            trust="it holds types that skops does not know to be harmless",
        )
    width = getattr(estimator, "n_features_in_", None)
    return ModelGuess(
        kind=f"scikit-learn {type(estimator).__name__} (skops)",
        task="regression" if is_regression(estimator, path.name) else "classification",
        features=tuple(str(name) for name in getattr(estimator, "feature_names_in_", ())),
        width=int(width) if isinstance(width, int | np.integer) else None,
    )

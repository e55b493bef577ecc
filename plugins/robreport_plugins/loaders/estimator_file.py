"""Read a scikit-learn estimator: skops safely, pickle and joblib only when trusted."""

from __future__ import annotations

import pickle
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

from robreport import ModelError
from robreport_plugins.loaders.bounded import check_archive
from robreport_plugins.loaders.regular_file import DAMAGED, beginning
from robreport_plugins.loaders.tree_check import CHECKED_TYPES, check_trees
from robreport_plugins.loaders.wording import listed, one_line

# Plain classes of scikit-learn that only hold numbers and take no part in predicting.
_HARMLESS = (
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    # How a ColumnTransformer chose its columns when it was fitted; names of types in it.
    "sklearn.compose._column_transformer.make_column_selector",
    "numpy.dtype",
    "numpy.number",
    "builtins.object",
)
_UNREADABLE: tuple[type[Exception], ...] = (
    pickle.PickleError,
    zipfile.BadZipFile,
    zlib.error,
    *DAMAGED,
)


def read_estimator(path: Path, *, trusted: bool, where: str) -> tuple[Any, dict[str, str]]:
    """Return the object in the file, and facts about how it was read.

    The facts name the file's format, the scikit-learn that fitted it where that differs from
    the one installed, and the types or the pickle that were trusted.

    Raises
    ------
    ModelError
        Missing, truncated or of another format; a pickle, or skops types that are not known to
        be harmless, without ``trusted = true``.
    """
    head, size = beginning(path, where, ModelError)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if head.startswith(b"PK\x03\x04"):
            found, facts = _read_skops(path, size, trusted, where)
        else:
            found, facts = _read_pickle(path, trusted, where)
    for warning in caught:
        fitted_with = getattr(warning.message, "original_sklearn_version", None)
        if fitted_with is not None:
            facts["fitted with"] = f"scikit-learn {fitted_with}"
        elif "valid feature names" in str(warning.message):
            continue  # of the library's own check of itself, not of the file
        elif issubclass(warning.category, UserWarning):
            facts["warning when read"] = str(warning.message).splitlines()[0][:200]
    return found, facts


def _read_skops(path: Path, size: int, trusted: bool, where: str) -> tuple[Any, dict[str, str]]:
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    names = check_archive(path, size, where, ModelError, packed=True)
    if "schema.json" not in names:
        raise ModelError(
            f"{where}: is a zip archive but no skops file; save the estimator with skops.io.dump."
        )
    facts = {"file format": "skops"}
    try:
        listed_types = skops.io.get_untrusted_types(file=path)
        known = {*_HARMLESS, *CHECKED_TYPES}
        unknown = [name for name in listed_types if name not in known]
        if unknown and not trusted:
            raise ModelError(
                f"{where}: holds types that skops does not know to be harmless "
                f"({listed(unknown)}); if you trust them, say trusted = true."
            )
        if unknown:
            facts["trusted types"] = listed(unknown)
        found = skops.io.load(path, trusted=listed_types)
        if not trusted and CHECKED_TYPES.intersection(listed_types):
            facts["decision trees"] = f"{check_trees(found, where):,}, each node checked"
        return found, facts
    except UntrustedTypesFoundException as error:
        raise ModelError(
            f"{where}: asks for types other than those that it lists ({one_line(error)}); "
            "it is refused."
        ) from None
    except _UNREADABLE as error:
        raise ModelError(
            f"{where}: is a damaged skops file or needs a package that is missing "
            f"({one_line(error)}); export it again."
        ) from None


def _read_pickle(path: Path, trusted: bool, where: str) -> tuple[Any, dict[str, str]]:
    if not trusted:
        raise ModelError(
            f"{where}: is no skops file, and reading a pickle or joblib file runs code from it; "
            "save it with skops.io.dump, or say trusted = true if you trust it."
        )
    import joblib

    try:
        found = joblib.load(path)
    except Exception as error:  # a pickle runs whatever code it holds
        raise ModelError(
            f"{where}: cannot be read as pickle or joblib ({one_line(error)}); export it again, "
            "with the packages installed that it was made with."
        ) from error
    return found, {"file format": "pickle, trusted by the author of the audit"}

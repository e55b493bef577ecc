"""What a file of a boosting library is, for a drafted audit."""

from __future__ import annotations

from pathlib import Path

from robreport import ModelGuess
from robreport_plugins.loaders.boosted_categories import Categories
from robreport_plugins.loaders.file_kind import file_kind

_ORDER = (
    "The file does not name its classes: they are taken to be the data's, in their order; say "
    "classes = [...] here if they are not."
)
_CODES = (
    "It takes categories as codes: where the file does not name them, compare the order of the "
    "data's values with that of the training."
)


def guess_xgboost(path: Path) -> ModelGuess | None:
    """Return what an XGBoost file holds; None when it is something else.

    Raises
    ------
    ModelError
        It is damaged.
    """
    if file_kind(path) not in ("xgboost json", "xgboost ubj"):
        return None
    from robreport_plugins.loaders.xgboost_file import read_xgboost

    file = read_xgboost(path, path.name)
    classes = file.objective.startswith(("binary:", "multi:"))
    return ModelGuess(
        kind=f"XGBoost {file.booster} ({file.objective}), {len(file.trees):,} trees",
        notes=((_ORDER,) if classes else ()) + ((_CODES,) if "c" in file.types else ()),
        task="classification" if classes else "regression",
        features=file.names,
        width=file.n_features,
        categories=_by_column(file.categories, file.names),
    )


def guess_lightgbm(path: Path) -> ModelGuess | None:
    """Return what a LightGBM file holds; None when it is something else.

    Raises
    ------
    ModelError
        It is damaged.
    """
    if file_kind(path) != "lightgbm":
        return None
    from robreport_plugins.loaders.lightgbm_file import read_lightgbm

    file = read_lightgbm(path, path.name)
    classes = file.objective[:1] in (("binary",), ("multiclass",), ("multiclassova",))
    return ModelGuess(
        kind=f"LightGBM ({file.objective[0]}), {file.rounds:,} rounds",
        notes=((_ORDER,) if classes else ()) + ((_CODES,) if file.categorical else ()),
        task="classification" if classes else "regression",
        features=file.names,
        width=file.n_features,
        categories=_by_column(file.categories, file.names),
    )


def _by_column(categories: Categories, names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {names[feature]: words for feature, words in categories.items()} if names else {}

"""The ``xgboost`` loader: models in XGBoost's own JSON and UBJSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from robreport import ModelError, ModelGuess, ModelHandle, ModelSource, Params
from robreport_plugins.loaders.boosted_options import BoostedOptions
from robreport_plugins.loaders.wording import listed, one_line

if TYPE_CHECKING:
    from robreport import TreeEnsemble
    from robreport_plugins.loaders.boosted import Array
    from robreport_plugins.loaders.xgboost_file import XgboostFile

_LINKS = {
    "binary:logistic": "sigmoid",
    "binary:logitraw": "sigmoid",
    "multi:softprob": "softmax",
    "multi:softmax": "softmax",
    "reg:squarederror": "identity",
    "reg:linear": "identity",
    "reg:absoluteerror": "identity",
    "reg:pseudohubererror": "identity",
    "reg:quantileerror": "identity",
    "reg:squaredlogerror": "identity",
}


class XgboostOptions(BoostedOptions):
    """Keys of a ``loader = "xgboost"`` model, beside name, version, path and sha256."""

    rounds: Literal["auto", "best", "all"] = Field(
        "auto",
        description="Which boosting rounds predict: up to the best one where training stopped "
        "early, or all. auto does as the library: the best for a file of the scikit-learn "
        "wrapper, all for one of a Booster.",
    )


class XgboostLoader:
    """Loads XGBoost models from JSON or UBJSON."""

    Options: ClassVar[type[Params]] = XgboostOptions
    summary: ClassVar[str] = "XGBoost model saved as .json or .ubj"

    def recognise(self, path: Path) -> ModelGuess | None:
        """Return what a file is for a drafted audit; None when it is no XGBoost model."""
        from robreport_plugins.loaders.boosted_guess import guess_xgboost

        return guess_xgboost(path)

    def load(self, source: ModelSource) -> ModelHandle:
        """Return the model; its trees as arrays, unless it is linear.

        Raises
        ------
        ModelError
            XGBoost is missing, the file is damaged, its objective is not one that is audited, or
            it does not suit the data.
        """
        try:
            import xgboost
        except ImportError:
            raise ModelError(
                f"model {source.name!r}: the xgboost loader needs XGBoost; "
                "pip install robreport[xgboost]."
            ) from None
        from robreport_plugins.loaders.boosted import Boosted, BoostedHandle, placed
        from robreport_plugins.loaders.xgboost_file import read_xgboost

        if source.path is None:
            raise ModelError(f"model {source.name!r}: needs a path to its file (.json or .ubj).")
        where = f"model {source.name!r} ({source.path.name})"
        file = read_xgboost(source.path, where)
        link = _link(file, where)
        rounds = _rounds(file, source.options.rounds)
        raw = _scores(file, rounds, where)
        facts: dict[str, str | int | float] = {
            "file format": "XGBoost's own, checked before it is read",
            "saved with": f"XGBoost {file.version}",
            "run with": f"XGBoost {xgboost.__version__}",
            "objective": file.objective,
            "missing values": "NaN (a wrapper's own setting for others is not in the file)",
            "refit": "none, since the file does not keep the settings of its training",
        }
        if file.ends:
            facts["boosting rounds"] = f"{rounds:,} of {len(file.ends):,}"
        if "c" in file.types:
            facts["categorical features"] = f"{file.types.count('c'):,}, read as category codes"
        model = Boosted(
            library=f"XGBoost {file.booster} ({file.objective})",
            raw=raw,
            link=link,
            link_scale=1.0,
            groups=file.groups,
            n_features=file.n_features,
            names=file.names,
            categories=file.categories,
            trees=lambda: _ensemble(file, rounds, link, raw),
            refit=None,
            facts=facts,
        )
        handle = BoostedHandle(model, placed(model, source, where))
        _try_out(handle)
        return handle


def _try_out(handle: ModelHandle) -> None:
    import numpy as np

    handle.predict(np.full((2, *(handle.input_shape or ())), 0.5))


def _link(file: XgboostFile, where: str) -> str:
    link = _LINKS.get(file.objective)
    if link is None:
        raise ModelError(
            f"{where}: was trained for {file.objective[:60]!r}, and these objectives are audited: "
            f"{listed(_LINKS, 20)}; for another, declare its predictions with the callable loader."
        )
    if (link == "softmax") != (file.groups > 1):
        raise ModelError(
            f"{where}: says {file.objective} and {file.groups} outputs, which do not go together; "
            "the file is damaged or forged."
        )
    inside = (file.base_score > 0) & (file.base_score < 1)
    if file.objective == "binary:logistic" and not inside.all():
        raise ModelError(
            f"{where}: has the base score {file.base_score[0]:g}, of which no finite score can be "
            "made, as after training on labels of one class; train it again on both."
        )
    return link


def _rounds(file: XgboostFile, wanted: str) -> int:
    stops = file.best is not None and (wanted == "best" or (wanted == "auto" and file.wrapped))
    return file.best + 1 if stops and file.best is not None else len(file.ends)


def _scores(file: XgboostFile, rounds: int, where: str) -> Callable[[Array], Array]:
    """Return what gives the library's own margins ``(n, groups)``."""
    import numpy as np
    import xgboost

    failures = (xgboost.core.XGBoostError, ValueError, TypeError)
    try:
        booster = xgboost.Booster(params={"verbosity": 0}, model_file=bytearray(file.data))
    except failures as error:
        raise ModelError(
            f"{where}: XGBoost {xgboost.__version__} refuses the file ({one_line(error)}); save it "
            "again with that version."
        ) from None
    types = list(file.types) if "c" in file.types else None

    def raw(x: Array) -> Array:
        try:
            rows = xgboost.DMatrix(
                x.astype(np.float32),
                missing=np.nan,
                feature_types=types,
                enable_categorical=types is not None,
            )
            found = booster.predict(
                rows,
                output_margin=True,
                iteration_range=(0, rounds),
                validate_features=False,
                strict_shape=True,
            )
        except failures as error:
            raise ModelError(
                f"{where}: XGBoost cannot predict with it ({one_line(error)}); save it again."
            ) from None
        return np.asarray(found, dtype=np.float64).reshape(len(x), file.groups)

    return raw


def _ensemble(
    file: XgboostFile, rounds: int, link: Any, raw: Callable[[Array], Array]
) -> TreeEnsemble:
    """Return the trees, starting from the margin that the library's own sums show."""
    import numpy as np

    from robreport import TreeEnsemble
    from robreport_plugins.loaders.verified_trees import NoTrees, probe_rows

    if not file.trees:
        raise NoTrees("a gblinear model has none")
    for base in _bases(file):
        ensemble = TreeEnsemble(
            trees=file.trees[: file.ends[rounds - 1]],
            n_features=file.n_features,
            n_outputs=file.groups,
            base=base,
            link=link,
            comparison="<",
            input_dtype="float32",
            sum_dtype="float32",
            takes_missing=True,
            category_rounding="floor",
        )
        x = probe_rows(ensemble)
        if np.array_equal(ensemble.predict_raw(x), raw(x)):
            break
    return ensemble


def _bases(file: XgboostFile) -> list[Array]:
    """Return what the sum may start from: the margin, or its neighbours.

    A base score is a probability for a logistic objective. Its logarithm is the C library's, in
    float32, and may differ in the last bit from one that is computed here.
    """
    import numpy as np

    if file.objective not in ("binary:logistic", "binary:logitraw"):
        return [file.base_score]
    one = np.float32(1)
    with np.errstate(all="ignore"):
        odds = (one / file.base_score - one).astype(np.float64)
        margin = np.asarray(-np.log(odds), dtype=np.float32)
    beside = [np.nextafter(margin, np.float32(side)) for side in (-np.inf, np.inf)]
    bases = [margin, *beside, file.base_score]
    return [base for base in bases if np.isfinite(base).all()]

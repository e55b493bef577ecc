"""The ``lightgbm`` loader: models in LightGBM's own text format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from robreport import ModelError, ModelGuess, ModelHandle, ModelSource, Params
from robreport_plugins.loaders.boosted_options import BoostedOptions
from robreport_plugins.loaders.wording import listed, one_line

if TYPE_CHECKING:
    from robreport import TreeEnsemble
    from robreport_plugins.loaders.boosted import Array, Boosted
    from robreport_plugins.loaders.lightgbm_file import LightgbmFile

_VALUES = ("regression", "regression_l1", "huber", "fair", "quantile", "mape")
# LightGBM reads what is no further from zero than 1e-35f as zero.
_ZERO_BAND = 1.0000000180025095e-35
# What decides what is learnt, of the settings that a file keeps. Never a file's name, a machine,
# a device or a number of threads.
_SETTINGS = frozenset(
    (
        "boosting", "learning_rate", "num_leaves", "max_depth", "min_data_in_leaf",
        "min_sum_hessian_in_leaf", "bagging_fraction", "pos_bagging_fraction",
        "neg_bagging_fraction", "bagging_freq", "feature_fraction", "feature_fraction_bynode",
        "extra_trees", "max_delta_step", "lambda_l1", "lambda_l2", "linear_lambda",
        "min_gain_to_split", "drop_rate", "max_drop", "skip_drop", "xgboost_dart_mode",
        "uniform_drop", "top_rate", "other_rate", "min_data_per_group", "max_cat_threshold",
        "cat_l2", "cat_smooth", "max_cat_to_onehot", "monotone_constraints",
        "monotone_constraints_method", "monotone_penalty", "path_smooth",
        "interaction_constraints", "linear_tree", "max_bin", "min_data_in_bin",
        "bin_construct_sample_cnt", "use_missing", "zero_as_missing", "feature_pre_filter",
        "is_unbalance", "scale_pos_weight", "sigmoid", "boost_from_average", "alpha", "fair_c",
        "data_sample_strategy", "enable_bundle",
    )
)  # fmt: skip

# Those of them that a file writes as 0 or 1, and training takes as words.
_SWITCHES = frozenset(
    (
        "extra_trees", "xgboost_dart_mode", "uniform_drop", "linear_tree", "use_missing",
        "zero_as_missing", "feature_pre_filter", "is_unbalance", "boost_from_average",
        "enable_bundle",
    )
)  # fmt: skip


class LightgbmLoader:
    """Loads LightGBM models from their text format."""

    Options: ClassVar[type[Params]] = BoostedOptions
    summary: ClassVar[str] = "LightGBM model saved as text"

    def recognise(self, path: Path) -> ModelGuess | None:
        """Return what a file is for a drafted audit; None when it is no LightGBM model."""
        from robreport_plugins.loaders.boosted_guess import guess_lightgbm

        return guess_lightgbm(path)

    def load(self, source: ModelSource) -> ModelHandle:
        """Return the model; its trees as arrays, and refits with the settings the file keeps.

        Raises
        ------
        ModelError
            LightGBM is missing, the file is damaged, its objective is not one that is audited,
            or it does not suit the data.
        """
        try:
            import lightgbm
        except (ImportError, OSError):  # its library may lack the system's OpenMP
            raise ModelError(
                f"model {source.name!r}: the lightgbm loader needs LightGBM; "
                "pip install robreport[lightgbm]."
            ) from None
        import numpy as np

        from robreport_plugins.loaders.boosted import BoostedHandle, placed
        from robreport_plugins.loaders.lightgbm_file import read_lightgbm

        if source.path is None:
            raise ModelError(f"model {source.name!r}: needs a path to its file (.txt).")
        where = f"model {source.name!r} ({source.path.name})"
        file = read_lightgbm(source.path, where)
        link, scale = _link(file, where)
        try:
            booster = lightgbm.Booster(model_str=file.text)
        except (lightgbm.basic.LightGBMError, ValueError, TypeError) as error:
            raise ModelError(
                f"{where}: LightGBM {lightgbm.__version__} refuses the file ({one_line(error)}); "
                "save it again with that version."
            ) from None
        facts: dict[str, str | int | float] = {
            "file format": f"LightGBM text {file.version}, checked before it is read",
            "run with": f"LightGBM {lightgbm.__version__}",
            "objective": " ".join(file.objective),
            "boosting rounds": file.rounds,
        }
        if file.categorical:
            facts["categorical features"] = f"{len(file.categorical):,}, read as category codes"
        model = _boosted(file, booster, link, scale, where, facts)
        handle = BoostedHandle(model, placed(model, source, where))
        handle.predict(np.full((2, *(handle.input_shape or ())), 0.5))
        return handle


def _link(file: LightgbmFile, where: str) -> tuple[Any, float]:
    """Return what makes predictions of raw scores, and their factor before it."""
    name, *words = file.objective or ("none",)
    settings = dict(word.split(":", 1) for word in words if ":" in word)
    known = name in ("binary", "multiclass") or (name in _VALUES and "sqrt" not in words)
    if not known:
        raise ModelError(
            f"{where}: was trained for {' '.join(file.objective)[:60]!r}, and these objectives are "
            f"audited: {listed(('binary', 'multiclass', *_VALUES), 20)}; for another, declare its "
            "predictions with the callable loader."
        )
    link = {"binary": "sigmoid", "multiclass": "softmax"}.get(name, "identity")
    if (link == "softmax") != (file.groups > 1):
        raise ModelError(
            f"{where}: says {name} and {file.groups} trees a round, which do not go together; "
            "the file is damaged or forged."
        )
    try:
        scale = float(settings.get("sigmoid", 1.0))
    except ValueError:
        scale = 0.0
    if not 0 < scale < float("inf"):
        raise ModelError(f"{where}: has no positive sigmoid; the file is damaged or forged.")
    return link, scale


def _boosted(
    file: LightgbmFile, booster: Any, link: Any, scale: float, where: str, facts: dict[str, Any]
) -> Boosted:
    import lightgbm
    import numpy as np

    from robreport_plugins.loaders.boosted import Boosted

    def raw(x: Array) -> Array:
        try:
            found = booster.predict(x, raw_score=True)
        except (lightgbm.basic.LightGBMError, ValueError, TypeError) as error:
            raise ModelError(
                f"{where}: LightGBM cannot predict with it ({one_line(error)}); save it again."
            ) from None
        scores = np.asarray(found, dtype=np.float64).reshape(len(x), file.groups)
        # LightGBM's raw scores are sums even where its predictions are made of means.
        return scores / file.rounds if file.averaged else scores

    return Boosted(
        library=f"LightGBM ({' '.join(file.objective)})",
        raw=raw,
        link=link,
        link_scale=scale,
        groups=file.groups,
        n_features=file.n_features,
        names=file.names,
        categories=file.categories,
        trees=lambda: _ensemble(file, link, scale),
        refit=_refit(file, link, scale, where, facts) if file.parameters else None,
        facts=facts,
    )


def _ensemble(file: LightgbmFile, link: Any, scale: float) -> TreeEnsemble:
    import numpy as np

    from robreport import TreeEnsemble
    from robreport_plugins.loaders.verified_trees import NoTrees

    if not file.trees:
        raise NoTrees("its leaves are linear models")
    return TreeEnsemble(
        trees=file.trees,
        n_features=file.n_features,
        n_outputs=file.groups,
        base=np.zeros(file.groups),
        link=link,
        link_scale=scale,
        aggregation="mean" if file.averaged else "sum",
        takes_missing=True,
        zero_band=_ZERO_BAND,
        category_rounding="trunc",
    )


def _refit(
    file: LightgbmFile, link: Any, scale: float, where: str, facts: dict[str, Any]
) -> Callable[[Array, Array, int], Boosted]:
    """Return what trains again with the file's settings, in an order that repeats itself."""
    settings: dict[str, Any] = {
        name: value != "0" if name in _SWITCHES else value
        for name, value in file.parameters.items()
        if name in _SETTINGS and value
    }
    settings["objective"] = file.objective[0]
    if file.groups > 1:
        settings["num_class"] = file.groups
    settings |= {"deterministic": True, "force_row_wise": True, "verbosity": -1}

    def refit(x: Array, y: Array, seed: int) -> Boosted:
        import lightgbm

        from robreport_plugins.loaders.lightgbm_file import checked_text

        try:
            rows = lightgbm.Dataset(
                x, y, categorical_feature=list(file.categorical), free_raw_data=True
            )
            trained = lightgbm.train({**settings, "seed": seed % 2**31}, rows, file.rounds)
            again = checked_text(trained.model_to_string(), where)
        except (lightgbm.basic.LightGBMError, ValueError, TypeError) as error:
            raise ModelError(
                f"{where}: cannot be trained again on {len(x):,} rows ({one_line(error)})."
            ) from None
        return _boosted(again, trained, link, scale, where, dict(facts))

    return refit

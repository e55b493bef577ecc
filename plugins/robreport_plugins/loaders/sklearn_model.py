"""The ``sklearn`` loader: fitted scikit-learn estimators and pipelines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from robreport import DataSchema, ModelError, ModelGuess, ModelHandle, ModelSource, Params
from robreport_plugins.loaders.wording import did_you_mean, listed, one_line

if TYPE_CHECKING:
    from robreport_plugins.loaders.estimator import Array
    from robreport_plugins.loaders.frame_input import FrameInput


class SklearnOptions(Params):
    """Keys of a ``loader = "sklearn"`` model, beside name, version, path, sha256 and trusted."""

    labels: Literal["auto", "names", "codes"] = Field(
        "auto",
        description="Whether the estimator's labels are the data's class names or their indices; "
        "auto finds out, and refuses when both fit and differ.",
    )


class SklearnModelLoader:
    """Loads scikit-learn estimators: skops, or pickle and joblib when trusted."""

    Options: ClassVar[type[Params]] = SklearnOptions
    summary: ClassVar[str] = (
        "scikit-learn estimator or pipeline: skops, or pickle and joblib with trusted = true"
    )

    def recognise(self, path: Path) -> ModelGuess | None:
        """Return what a file is for a drafted audit; None when it is no estimator's."""
        from robreport_plugins.loaders.estimator_guess import guess_estimator

        return guess_estimator(path)

    def load(self, source: ModelSource) -> ModelHandle:
        """Return the estimator; refit always, gradients where it has an exact torch twin.

        Raises
        ------
        ModelError
            The file cannot be read safely, or holds no fitted model for this data.
        """
        import sklearn

        from robreport_plugins.loaders.estimator import EstimatorHandle
        from robreport_plugins.loaders.estimator_file import read_estimator

        if source.path is None:
            raise ModelError(f"model {source.name!r}: needs a path to its file (skops).")
        where = f"model {source.name!r} ({source.path.name})"
        estimator, facts = read_estimator(source.path, trusted=source.trusted, where=where)
        regression = is_regression(estimator, where)
        schema = source.schema
        if schema is not None and regression != (schema.task == "regression"):
            raise ModelError(
                f"{where}: is a {'regressor' if regression else 'classifier'}, which does not "
                f"suit a {schema.task} audit."
            )
        setup = _setup(estimator, source, regression, where)
        handle = EstimatorHandle(setup, estimator)
        _try_out(handle, setup.frame.plain_rows(2), where)
        if facts.get("fitted with") == f"scikit-learn {sklearn.__version__}":
            del facts["fitted with"]
        handle.facts = {
            **facts,
            "run with": f"scikit-learn {sklearn.__version__}",
            "estimator": _settings(estimator),
            **_category_facts(setup.frame, schema),
            **handle.facts,
        }
        return handle


def _category_facts(frame: FrameInput, schema: DataSchema | None) -> dict[str, str]:
    """Return in which form the estimator is given columns of categories."""
    if schema is None or not schema.categories:
        return {}
    forms: dict[str, list[str]] = {"as words": [], "as numbers": [], "as codes": [], "not read": []}
    read = {int(place): column for column, place in enumerate(frame.order)}
    for place, name in enumerate(schema.features):
        if name in schema.categories:
            column = read.get(place)
            forms["not read" if column is None else frame.form(column)].append(name)
    said = [f"{listed(names, 6)} {form}" for form, names in forms.items() if names]
    return {"categorical columns": "; ".join(said)}


def is_regression(estimator: Any, where: str) -> bool:
    """Return whether the object is a fitted regressor; False for a fitted classifier."""
    from sklearn.base import is_classifier, is_regressor
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    if not callable(getattr(estimator, "predict", None)):
        raise ModelError(
            f"{where}: holds a {type(estimator).__name__}, which has no predict; "
            "save a fitted estimator or pipeline."
        )
    try:
        classifier, regressor = bool(is_classifier(estimator)), bool(is_regressor(estimator))
    except (AttributeError, TypeError):
        # Another library's model with scikit-learn's methods but not its tags.
        classifier = hasattr(estimator, "classes_")
        regressor = not classifier
    if not classifier and not regressor:
        raise ModelError(
            f"{where}: a {type(estimator).__name__} is neither a classifier nor a regressor."
        )
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise ModelError(
            f"{where}: this {type(estimator).__name__} has not been fitted; fit it before it is "
            "saved."
        ) from None
    except (TypeError, AttributeError):
        pass  # no scikit-learn estimator: trying it out shows whether it is fitted
    return regressor and not classifier


def _setup(estimator: Any, source: ModelSource, regression: bool, where: str) -> Any:
    """Return how data space and classes map to what the estimator was fitted on."""
    import numpy as np

    from robreport_plugins.loaders.class_labels import match_labels
    from robreport_plugins.loaders.estimator import EstimatorSetup
    from robreport_plugins.loaders.frame_input import frame_input

    schema = source.schema
    width = getattr(estimator, "n_features_in_", None)
    if schema is not None:
        shape = tuple(schema.input_shape)
    elif isinstance(width, int | np.integer):
        shape = (int(width),)
    else:
        raise ModelError(f"{where}: does not say how many features it takes, and no data does.")
    flat = int(np.prod(shape))
    columns, order = _columns(estimator, schema, where)
    # A model of named columns may leave some of the data's out.
    if width is not None and int(width) != (flat if order is None else len(order)):
        raise ModelError(
            f"{where}: was fitted on {int(width)} features, and the data has {flat} "
            f"(inputs of shape {shape}); audit it on data of the same columns."
        )
    labels, index = np.zeros(0), np.zeros(0, dtype=np.int64)
    if not regression:
        classes = getattr(estimator, "classes_", None)
        if classes is None or isinstance(classes, list) or np.ndim(classes) != 1:
            raise ModelError(
                f"{where}: has no single list of classes (classes_); multi-label and "
                "multi-output classifiers are not audited."
            )
        labels = np.asarray(classes)
        names = schema.classes if schema is not None else ()
        reading = source.options.labels
        index = match_labels([*labels.tolist()], names, reading, where)
    return EstimatorSetup(
        name=source.name,
        where=where,
        device=source.device,
        regression=regression,
        input_shape=shape,
        n_outputs=1 if regression else (schema.n_classes if schema else 0) or len(labels),
        labels=labels,
        index=index,
        frame=frame_input(estimator, schema, width=flat, order=order, names=columns),
    )


def _columns(
    estimator: Any, schema: DataSchema | None, where: str
) -> tuple[tuple[str, ...], Array | None]:
    """Return the names that the estimator was fitted on, and the data's columns in its order."""
    import numpy as np

    names = tuple(str(name) for name in getattr(estimator, "feature_names_in_", ()))
    features = schema.features if schema is not None else ()
    if not names or not features or names == features:
        return names, None
    missing = [name for name in names if name not in features]
    if missing:
        raise ModelError(
            f"{where}: was fitted on columns that the data lacks ({listed(map(repr, missing))})."
            f"{did_you_mean(missing[0], features)}"
        )
    return names, np.array([features.index(name) for name in names], dtype=np.int64)


def _try_out(handle: ModelHandle, rows: Array, where: str) -> None:
    """Predict plain inputs, so that a model that cannot is refused now."""
    from robreport import Needs

    x = rows.reshape(len(rows), *(handle.input_shape or ()))
    try:
        handle.predict(x)
        if Needs.PROBABILITIES in handle.offers:
            handle.predict_proba(x)
    except ModelError:
        raise
    except Exception as error:  # another library's model may raise anything
        raise ModelError(f"{where}: cannot predict ({one_line(error)}).") from error


def _settings(estimator: Any) -> str:
    """Return the estimator's changed settings on one line, without addresses in memory."""
    text = " ".join(repr(estimator).split())
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)[:300]

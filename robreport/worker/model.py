"""Load a model through its loader, and try it before anything is measured."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport.bundle import DataSchema, ModelHandle, Needs
from robreport.codec import plain
from robreport.columns import probe_rows
from robreport.errors import ModelError, RobreportError, said
from robreport.loading import ModelSource
from robreport.modelfile import code_digest, file_digest
from robreport.outcome import ModelFacts
from robreport.plugins import Registry
from robreport.worker.payload import Tell, schema_of, split_of, splits_of

PROBE_ROWS = 64


def probe_model(payload: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Load a model, try it on a few rows, and return its facts, or facts with the problem."""
    entry = payload["model"]
    base = ModelFacts(
        name=entry["name"], version=entry["version"], loader=entry["loader"],
        path=entry["declared_path"] or "", digest="", kind="", offers=(), n_outputs=0,
        input_shape=None, trusted=entry["trusted"],
    )  # fmt: skip
    tell(0, 1, f"loading {entry['name']}")
    try:
        facts = _probe(base, payload)
    except RobreportError as error:
        facts = replace(base, problem=str(error))
    except MemoryError:
        facts = replace(base, problem=f"models.{base.name}: it does not fit into memory.")
    except Exception as error:  # a loader may be anybody's; its fault must name the model
        logging.getLogger("robreport.model").exception("loading %s", base.name)
        facts = replace(
            base, problem=f"models.{base.name}: the loader {base.loader!r} broke: {said(error)}"
        )
    tell(1, 1, "loaded")
    return {"facts": plain(facts)}


def _probe(base: ModelFacts, payload: Mapping[str, Any]) -> ModelFacts:
    entry = payload["model"]
    digest = file_digest(entry["path"])
    if entry["sha256"] and digest != entry["sha256"]:
        raise ModelError(
            f"models.{base.name}.sha256: the file's SHA-256 is {digest or 'none'}, the pinned "
            f"one {entry['sha256']}; the file is not the one that was declared."
        )
    schema = schema_of(payload)
    model = load_model(payload)
    if schema is not None:
        _try(model, base.name, schema, payload)
    examined = dict(model.examine(splits_of(payload["measured"])))
    offers = model.offers
    if not isinstance(offers, Needs):
        raise ModelError(f"models.{base.name}: the loader gave no Needs as offers.")
    code = code_digest(entry["options"], Path(payload["base"]))
    return replace(
        base,
        digest=digest or model.digest or code,
        kind=model.kind,
        offers=offers.words,
        n_outputs=int(model.n_outputs),
        input_shape=None if model.input_shape is None else tuple(model.input_shape),
        facts={
            **dict(model.facts),
            **({"code SHA-256": code} if code and (digest or model.digest) else {}),
        },
        examined=examined,
    )


def load_model(payload: Mapping[str, Any]) -> ModelHandle:
    """Load the payload's model through its loader."""
    entry = payload["model"]
    loader = Registry(payload["allow"]).model_loaders[entry["loader"]]
    model = loader.load(
        ModelSource(
            name=entry["name"],
            path=Path(entry["path"]) if entry["path"] else None,
            base=Path(payload["base"]),
            options=loader.Options.model_validate(entry["options"]),
            trusted=entry["trusted"],
            device=payload["device"],
            schema=schema_of(payload),
            examples=_examples(payload),
        )
    )
    if not isinstance(model, ModelHandle):
        raise ModelError(
            f"models.{entry['name']}: the loader {entry['loader']!r} returned "
            f"{type(model).__name__}, not a ModelHandle."
        )
    model.name = entry["name"]
    expected = payload.get("model_digest")
    if model.digest and expected and model.digest != expected:
        raise ModelError(
            f"models.{model.name}: it answers otherwise than when the audit began, so that its "
            "numbers would be of another model; run the audit again."
        )
    return model


def _examples(payload: Mapping[str, Any]) -> npt.NDArray[Any] | None:
    """Return the rows that models are tried out on, in memory of their own; None without data."""
    rows, schema = payload.get("probe"), schema_of(payload)
    if rows is None or schema is None:
        return None
    return probe_rows(split_of(rows).x, schema, PROBE_ROWS)


def _try(model: ModelHandle, name: str, schema: DataSchema, payload: Mapping[str, Any]) -> None:
    """Predict a few rows, so that a mismatch is found before anything is measured."""
    task = Needs.REGRESSION if schema.task == "regression" else Needs.CLASSIFICATION
    if not model.offers & task:
        raise ModelError(f"models.{name}: it does no {schema.task}, which data.task declares.")
    shape = model.input_shape
    if shape is not None and tuple(shape) != schema.input_shape:
        raise ModelError(
            f"models.{name}: it takes inputs of shape {tuple(shape)}; the data has "
            f"{schema.input_shape}."
        )
    x = _examples(payload)
    if x is None:
        return
    try:
        predicted = np.asarray(model.predict(x))
        scores = model.predict_proba(x) if Needs.PROBABILITIES in model.offers else None
    except RobreportError:
        raise
    except Exception as error:
        raise ModelError(
            f"models.{name}: it cannot predict inputs of shape {schema.input_shape}: {said(error)}"
        ) from error
    if predicted.shape != (len(x),):
        raise ModelError(
            f"models.{name}: {len(x)} inputs gave predictions of shape {predicted.shape}."
        )
    if predicted.dtype.kind == "f" and not np.isfinite(predicted).all():
        raise ModelError(f"models.{name}: its predictions are not finite.")
    if schema.task == "classification":
        if model.n_outputs != schema.n_classes:
            raise ModelError(
                f"models.{name}: it has {model.n_outputs} classes; the data has "
                f"{schema.n_classes}. Name all of them in data.schema.classes where the labels "
                "do not show every class."
            )
        if predicted.min() < 0 or predicted.max() >= schema.n_classes:
            raise ModelError(f"models.{name}: it predicts classes that the data does not have.")
    if scores is not None and (
        np.asarray(scores).shape != (len(x), schema.n_classes) or not np.isfinite(scores).all()
    ):
        raise ModelError(
            f"models.{name}: its probabilities are not finite or not of shape "
            f"({len(x)}, {schema.n_classes})."
        )

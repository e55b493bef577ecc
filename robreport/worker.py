"""What runs in a process of its own: load the data, probe a model, run a metric or comparison.

Each function takes plain values and returns plain values; arrays and results go through files.
"""

from __future__ import annotations

import logging
import random
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import inputs
from robreport.bundle import Bundle, DataSchema, ModelHandle, Needs, NotOffered, Split
from robreport.cache import Cache
from robreport.classes import class_names, positive_last, unify_classes
from robreport.codec import adapter, plain
from robreport.columns import probe_rows, unify_columns
from robreport.errors import DataError, ModelError, RobreportError
from robreport.loading import LoadedData, ModelSource, SplitSource
from robreport.metric import Comparison, Context, Metric, SkipMetric
from robreport.modelfile import code_digest, file_digest
from robreport.outcome import Computed, Failed, ModelFacts, Outcome, Skipped, SplitFacts, Subject
from robreport.plugins import Registry
from robreport.result import check_result
from robreport.store import load_result, save_result
from robreport.survey import make_cards
from robreport.threat import ThreatModel

Tell = Callable[[int, int, str], None]
PROBE_ROWS = 64


def load_data(payload: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Load, check and keep every split; a split that cannot be used carries its problem.

    Returns
    -------
    dict
        ``splits`` (facts), ``labelled`` (roles with labels), ``schema`` (JSON) or None.
    """
    registry = Registry(payload["allow"])
    task, seed = payload["task"], payload["seed"]
    problems: dict[str, str] = {}
    loaded: dict[str, LoadedData] = {}
    whole: dict[str, LoadedData] = {}
    planned = payload["splits"]
    for i, split in enumerate(planned):
        role = split["role"]
        tell(i, len(planned), f"loading {role}")
        if split["carved_from"]:
            continue
        try:
            data = _load_split(registry, split, payload)
            loaded[role] = inputs.check_structure(data, role, task)
        except RobreportError as error:
            problems[role] = str(error)
        except MemoryError:
            problems[role] = f"data.{role}: it does not fit into memory."
        except Exception as error:  # a loader may be anybody's; its fault must name the split
            logging.getLogger("robreport.data").exception("loading %s", role)
            problems[role] = f"data.{role}: the loader {split['loader']!r} broke: {_said(error)}"
    schema = None
    facts: dict[str, SplitFacts] = {}
    if loaded:
        declared = payload["schema"]
        try:
            found, named = _class_order(loaded, task, declared)
            schema = inputs.make_schema(
                loaded, task=task, bounds=_bounds(payload["bounds"]),
                classes=named, found_classes=found, features=declared.get("features"),
                target=_target(declared), columns=unify_columns(loaded, declared),
                positive=declared.get("positive") or "",
            )  # fmt: skip
            # only now, so that all of what is declared says what labels and columns are
            whole = _cut(loaded, planned, seed)
        except DataError as error:
            problems |= dict.fromkeys(loaded, str(error))
            loaded = {}
    # a split that is cut from another one shares what is wrong with it
    for split in planned:
        if split["carved_from"] and split["role"] not in loaded:
            problems[split["role"]] = problems.get("test", "data.test: it is not declared.")
    for role, data in loaded.items():
        loader = next(split["loader"] for split in planned if split["role"] == role)
        try:
            inputs.check_against(data, role, _present(schema))
            folder = Path(payload["out"]) / role
            facts[role] = inputs.keep(data, role, loader, _present(schema), folder)
        except DataError as error:
            problems[role] = str(error)
    tell(len(planned), len(planned), "describing the data")
    facts = _described(facts, schema, Path(payload["out"]), whole)
    tell(len(planned), len(planned), "loaded")
    listed = []
    for split in planned:
        role = split["role"]
        listed.append(
            facts[role] if role in facts
            else SplitFacts(role=role, loader=split["loader"], n=0, shape=(), dtype="", digest="",
                            source="", problem=problems.get(role, "could not be loaded"))
        )  # fmt: skip
    return {
        "splits": plain(listed),
        "labelled": [role for role in facts if loaded[role].y is not None],
        "schema": plain(schema) if schema is not None else None,
    }


def _cut(
    loaded: dict[str, LoadedData], planned: Sequence[Mapping[str, Any]], seed: int
) -> dict[str, LoadedData]:
    """Leave of each split what its limit lets through (in place); return those that it cut.

    Then a split that nobody declared is carved from another one.
    """
    whole: dict[str, LoadedData] = {}
    for split in planned:
        role = split["role"]
        if role in loaded:
            every = loaded[role]
            loaded[role] = inputs.take(every, split["limit"], split["shuffle"], seed, role)
            if loaded[role] is not every:
                whole[role] = every
    for split in planned:
        if split["carved_from"] and "test" in loaded:
            part, rest = inputs.carve(loaded["test"], split["share"], seed)
            loaded |= {"test": rest, split["role"]: part}
    return whole


def _class_order(
    loaded: dict[str, LoadedData], task: str, declared: Mapping[str, Any]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the classes as the loaders name them and as they are declared, in their order."""
    found = unify_classes(loaded)
    named = tuple(declared.get("classes") or ())
    positive = declared.get("positive")
    if not positive:
        return found, named
    if task != "classification":
        raise DataError("data.schema.positive is for a classification.")
    names = class_names(named, found)
    if positive_last(loaded, names, positive) != names:
        found, named = found[::-1], named[::-1]
    return found, named


def _target(declared: Mapping[str, Any]) -> str:
    label = declared.get("label")
    return "" if label is None else str(label)


def _described(
    facts: Mapping[str, SplitFacts],
    schema: DataSchema | None,
    folder: Path,
    whole: Mapping[str, LoadedData],
) -> dict[str, SplitFacts]:
    """Return the facts with the card of each kept split; `whole` are those that a limit cut."""
    splits = {role: inputs.open_split(found, folder / role) for role, found in facts.items()}
    uncut = {
        role: Split(
            role=role, x=data.x, y=data.y, digest="", groups=data.groups,
            index=np.arange(len(data.x)) if data.index is None else data.index,
        )
        for role, data in whole.items() if role in splits
    }  # fmt: skip
    cards = make_cards(splits, schema, uncut) if schema is not None else {}
    return {role: replace(found, card=cards.get(role)) for role, found in facts.items()}


def _present(schema: DataSchema | None) -> DataSchema:
    if schema is None:
        raise DataError("data: no split could be loaded.")
    return schema


def _load_split(
    registry: Registry, split: Mapping[str, Any], payload: Mapping[str, Any]
) -> LoadedData:
    loader = registry.data_loaders[split["loader"]]
    data = loader.load(
        SplitSource(
            role=split["role"],
            base=Path(payload["base"]),
            root=Path(split["root"]),
            options=loader.Options.model_validate(split["options"]),
            seed=payload["seed"],
            task=payload["task"],
            declared_schema=payload["schema"],
        )
    )
    if not isinstance(data, LoadedData):
        raise DataError(
            f"data.{split['role']}: the loader {split['loader']!r} returned "
            f"{type(data).__name__}, not LoadedData."
        )
    return data


def _bounds(given: Any) -> inputs.Bounds | None:
    if given is None:
        return None
    low, high = (float(s) if isinstance(s, int | float) else tuple(s) for s in given)
    return low, high


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
            base, problem=f"models.{base.name}: the loader {base.loader!r} broke: {_said(error)}"
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
    schema = _schema(payload)
    model = load_model(payload)
    if schema is not None:
        _try(model, base.name, schema, payload)
    examined = dict(model.examine(_splits(payload["measured"])))
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


def _splits(rows: Sequence[Mapping[str, Any]]) -> dict[str, Split]:
    """Return the kept splits by role."""
    splits = {}
    for row in rows:
        facts = adapter(SplitFacts).validate_python(row["facts"])
        splits[facts.role] = inputs.open_split(facts, Path(row["folder"]))
    return splits


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
            schema=_schema(payload),
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
    rows, schema = payload.get("probe"), _schema(payload)
    if rows is None or schema is None:
        return None
    facts = adapter(SplitFacts).validate_python(rows["facts"])
    return probe_rows(inputs.open_split(facts, Path(rows["folder"])).x, schema, PROBE_ROWS)


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
            f"models.{name}: it cannot predict inputs of shape {schema.input_shape}: {_said(error)}"
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


def run_metric(payload: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Run one metric and save its result; returns ``{"skipped": reason}`` when it skips."""
    registry = Registry(payload["allow"])
    metric = registry.metrics[payload["metric"]]()
    if not isinstance(metric, Metric):
        raise TypeError(f"{payload['metric']} is no Metric")
    # a metric of the data alone, in an audit without [data], has nothing to know of it
    schema = _schema(payload) or DataSchema(task="", input_shape=(), layout="array")
    splits = _splits(payload["splits"])
    model = load_model(payload) if payload["model"] is not None else ModelHandle()
    offers = model.offers
    for word in payload["data_offers"]:
        offers |= Needs[word.upper()]
    bundle = Bundle(
        model=model, splits=splits, schema=schema, offers=offers,
        digests={role: split.digest for role, split in splits.items()},
    )  # fmt: skip
    params = type(metric).Params.model_validate(payload["params"])
    _seed_libraries(payload["seed"], payload["threads"])
    try:
        result = registry.hook.run_metric(
            metric=metric, bundle=bundle, params=params, ctx=_context(payload, tell)
        )
    except SkipMetric as skip:
        return {"skipped": str(skip) or "the metric gave no reason"}
    except NotOffered as absent:
        raise RuntimeError(
            f"the metric uses {absent} without declaring it in needs or splits"
        ) from absent
    save_result(check_result(result), Path(payload["out"]))
    return {}


def run_comparison(payload: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Run one comparison over saved outcomes and save its result."""
    registry = Registry(payload["allow"])
    comparison = registry.metrics[payload["metric"]]()
    if not isinstance(comparison, Comparison):
        raise TypeError(f"{payload['metric']} is no Comparison")
    outcomes: list[Outcome] = []
    for item in payload["outcomes"]:
        about = adapter(Subject).validate_python(item["about"])
        if item["kind"] == "computed":
            outcomes.append(Computed(about=about, result=load_result(Path(item["folder"]))))
        elif item["kind"] == "skipped":
            outcomes.append(Skipped(about=about, reason=item["reason"]))
        else:
            outcomes.append(Failed(about=about, error=item["reason"]))
    params = type(comparison).Params.model_validate(payload["params"])
    _seed_libraries(payload["seed"], payload["threads"])
    try:
        result = comparison.compare(outcomes, params, _context(payload, tell))
    except SkipMetric as skip:
        return {"skipped": str(skip) or "the comparison gave no reason"}
    save_result(check_result(result), Path(payload["out"]))
    return {}


def _context(payload: Mapping[str, Any], tell: Tell) -> Context:
    root = payload["cache"]

    def artifact(key: str, build: Callable[[Path], None]) -> Path:
        if root is None:
            folder = Path(tempfile.mkdtemp(dir=payload["out"], prefix="artifact-"))
            build(folder)
            return folder
        return Cache(Path(root)).artifact(f"{payload['artifact_key']}:{key}", build)

    return Context(
        threats=tuple(adapter(ThreatModel).validate_python(t) for t in payload["threats"]),
        seed=payload["seed"],
        device=payload["device"],
        threads=payload["threads"],
        progress=tell,
        artifact=artifact,
        log=logging.getLogger("robreport.metric"),
    )


def _seed_libraries(seed: int, threads: int) -> None:
    """Seed the global generators, for code that uses them, and fix torch's threads."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True, warn_only=True)


def _schema(payload: Mapping[str, Any]) -> DataSchema | None:
    tree = payload["data_schema"]
    return None if tree is None else inputs.schema_from_json(tree)


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text[:400]}"

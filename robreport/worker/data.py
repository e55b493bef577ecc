"""Load every split, check it, and keep it with a card of what it holds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from robreport.bundle import DataSchema, Split
from robreport.classes import class_names, positive_last, unify_classes
from robreport.codec import plain
from robreport.columns import unify_columns
from robreport.errors import DataError, RobreportError, said
from robreport.inputs import Bounds, check_against, check_structure, make_schema
from robreport.kept import keep, open_split
from robreport.loading import LoadedData, SplitSource
from robreport.outcome import SplitFacts
from robreport.plugins import Registry
from robreport.selection import carve, take
from robreport.survey import make_cards
from robreport.worker.payload import Tell


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
            loaded[role] = check_structure(data, role, task)
        except RobreportError as error:
            problems[role] = str(error)
        except MemoryError:
            problems[role] = f"data.{role}: it does not fit into memory."
        except Exception as error:  # a loader may be anybody's; its fault must name the split
            logging.getLogger("robreport.data").exception("loading %s", role)
            problems[role] = f"data.{role}: the loader {split['loader']!r} broke: {said(error)}"
    schema = None
    facts: dict[str, SplitFacts] = {}
    if loaded:
        declared = payload["schema"]
        try:
            found, named = _class_order(loaded, task, declared)
            schema = make_schema(
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
            check_against(data, role, _present(schema))
            folder = Path(payload["out"]) / role
            facts[role] = keep(data, role, loader, _present(schema), folder)
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
            loaded[role] = take(every, split["limit"], split["shuffle"], seed, role)
            if loaded[role] is not every:
                whole[role] = every
    for split in planned:
        if split["carved_from"] and "test" in loaded:
            part, rest = carve(loaded["test"], split["share"], seed)
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
    splits = {role: open_split(found, folder / role) for role, found in facts.items()}
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


def _bounds(given: Any) -> Bounds | None:
    if given is None:
        return None
    low, high = (float(s) if isinstance(s, int | float) else tuple(s) for s in given)
    return low, high

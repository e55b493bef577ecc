"""Decode every split once: in a process of its own, or from the cache when nothing changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robreport import __version__
from robreport.bundle import DataSchema
from robreport.cache import Cache, digest
from robreport.codec import adapter, from_json, to_json
from robreport.environment import NUMERICAL, plugin_digest, versions
from robreport.errors import RobreportError
from robreport.inputs import schema_from_json
from robreport.isolation import Crashed, Workshop
from robreport.jobs import Listener, gather, make_job
from robreport.loading import SplitSource
from robreport.modelfile import file_digest
from robreport.outcome import SplitFacts
from robreport.planned import CALIBRATION_SHARE, Plan

_ANSWER = "splits.json"
_FORM = 4
"""Of the answer; one of another form is not used again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedSplits:
    """The splits of an audit as arrays in ``folder/ROLE/*.npy``, with their facts.

    ``labelled`` are the roles with labels.
    """

    folder: Path
    facts: Mapping[str, SplitFacts]
    labelled: frozenset[str]
    schema: DataSchema | None


def decode_splits(
    plan: Plan, workshop: Workshop, folder: Path, cache: Cache | None, listen: Listener
) -> DecodedSplits:
    """Return the splits of a plan; one that cannot be used carries its problem.

    Where every loader names the files that it reads, arrays decoded before are used again.
    """
    place = folder / "data"
    if plan.spec.data is None or not plan.splits:
        return DecodedSplits(folder=place, facts={}, labelled=frozenset(), schema=None)
    payload = _payload(plan, place)
    key = _key(plan, payload) if cache is not None else ""
    kept = cache.get("data", key) if cache is not None and key else None
    if kept is not None:
        tree = from_json((kept / _ANSWER).read_bytes(), _ANSWER)
        return _decoded(tree, kept)
    answer = gather(workshop, [make_job(plan, "data", "data:load_data", payload, folder)], listen)[
        "data"
    ]
    if isinstance(answer, Crashed):
        facts = {
            split.role: SplitFacts(
                role=split.role, loader=split.loader, n=0, shape=(), dtype="", digest="",
                source="", problem=f"data: {answer.error}",
            )
            for split in plan.splits
        }  # fmt: skip
        return DecodedSplits(folder=place, facts=facts, labelled=frozenset(), schema=None)
    decoded = _decoded(answer.value, place)
    if cache is not None and key and not any(f.problem for f in decoded.facts.values()):
        (place / _ANSWER).write_bytes(to_json(answer.value))
        moved = cache.keep("data", key, place)
        if moved is not None:
            return _decoded(answer.value, moved)
    return decoded


def _decoded(tree: Mapping[str, Any], folder: Path) -> DecodedSplits:
    facts = adapter(tuple[SplitFacts, ...]).validate_python(tree["splits"])
    schema = None if tree["schema"] is None else schema_from_json(tree["schema"])
    return DecodedSplits(
        folder=folder,
        facts={split.role: split for split in facts},
        labelled=frozenset(tree["labelled"]),
        schema=schema,
    )


def _payload(plan: Plan, place: Path) -> dict[str, Any]:
    data = plan.spec.data
    if data is None:
        raise ValueError("the plan has no data")
    return {
        "allow": plan.spec.plugins.allow,
        "base": str(plan.spec.base),
        "out": str(place),
        "task": data.task,
        "seed": plan.spec.audit.seed,
        "bounds": data.bounds,
        "schema": data.columns.model_dump(mode="json"),
        "splits": [
            {
                "role": split.role,
                "loader": split.loader,
                "root": str(split.root),
                "options": None if split.options is None else split.options.model_dump(mode="json"),
                "limit": split.limit,
                "shuffle": split.shuffle,
                "carved_from": split.carved_from,
                "share": CALIBRATION_SHARE,
            }
            for split in plan.splits
        ],
    }


def _key(plan: Plan, payload: Mapping[str, Any]) -> str:
    """Return what decides the decoded arrays; empty when a loader does not say what it reads."""
    found: dict[str, list[tuple[str, str]]] = {}
    code = {}
    for split in plan.splits:
        if split.carved_from:
            continue
        loader = plan.registry.data_loaders[split.loader]
        files = getattr(loader, "files", None)
        if files is None:
            return ""
        source = SplitSource(
            role=split.role, base=Path(payload["base"]), root=split.root, options=split.options,
            seed=payload["seed"], task=payload["task"], declared_schema=payload["schema"],
        )  # fmt: skip
        try:
            found[split.role] = [(str(path), file_digest(str(path))) for path in files(source)]
        except (RobreportError, OSError, ValueError):
            return ""  # loading says what is wrong, in words for the reader
        owner = plan.registry.owner("data_loaders", split.loader)
        code[split.loader] = plugin_digest(owner.distribution, owner.module)
    told = {key: value for key, value in payload.items() if key not in ("out", "base")}
    told["splits"] = [{k: v for k, v in s.items() if k != "root"} for s in payload["splits"]]
    return digest(
        {"form": _FORM, "payload": told, "files": found, "code": code,
         "versions": versions(NUMERICAL), "robreport": __version__}
    )  # fmt: skip

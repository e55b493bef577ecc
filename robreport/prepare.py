"""Load the data and probe the models, each in a process of its own, before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from robreport import __version__
from robreport.bundle import DataSchema, Needs
from robreport.cache import Cache, digest
from robreport.codec import adapter, from_json, plain, to_json
from robreport.environment import NUMERICAL, find_device, plugin_digest, versions
from robreport.errors import ModelError, SpecError
from robreport.isolation import Crashed, Workshop
from robreport.jobs import Listener, gather, make_job
from robreport.modelfile import code_digest, file_digest
from robreport.offers import data_offers, missing_needs
from robreport.outcome import ModelFacts, SplitFacts
from robreport.planned import Plan, PlannedModel, Unit
from robreport.splits import decode_splits
from robreport.threat_columns import column_problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The loaded inputs of an audit.

    Attributes
    ----------
    folder : Path
        For what is made on the way.
    arrays : Path
        Holds each split's arrays as ``ROLE/*.npy``.
    models, splits : mapping of name or role to facts
        Facts with a ``problem`` are of inputs that cannot be used.
    """

    plan: Plan
    folder: Path
    arrays: Path
    device: str
    models: Mapping[str, ModelFacts]
    splits: Mapping[str, SplitFacts]
    schema: DataSchema | None
    offers: Needs

    @property
    def problems(self) -> list[str]:
        """Every problem of a model or split, in order; one that several share, once."""
        found = [split.problem for split in self.splits.values()]
        found += [model.problem for model in self.models.values()]
        return list(dict.fromkeys(problem for problem in found if problem))

    def obstacle(self, unit: Unit) -> tuple[str, str]:
        """Return (kind, reason) of what keeps a unit from running: ``input`` when its model or
        data cannot be used, ``skip`` when they do not offer what it needs, else two empty texts.
        """
        if unit.kind == "comparison":
            return "", ""
        for role in unit.roles:
            if self.splits[role].problem:
                return "input", self.splits[role].problem
        model = self.models[unit.model] if unit.model is not None else None
        if model is not None and model.problem:
            return "input", model.problem
        if self.schema is None and unit.roles:
            return "input", "the data could not be loaded"
        try:
            needs = unit.needs
        except Exception as error:  # noqa: BLE001 - a metric may be anybody's; the audit stands
            return "skip", f"what it needs could not be asked: {type(error).__name__}: {error}"
        reason = missing_needs(needs, model, self.offers, unit.missing)
        return ("skip", reason) if reason else ("", "")

    def split_row(self, role: str) -> dict[str, Any]:
        """Return what a worker needs to open a split."""
        facts = replace(self.splits[role], card=None)  # what it describes can be seen there
        return {"facts": plain(facts), "folder": str(self.arrays / role)}

    def example_row(self) -> dict[str, Any] | None:
        """Return what a worker needs to open the split that models are tried out on, if any."""
        usable = [role for role, facts in self.splits.items() if not facts.problem]
        if not usable:
            return None
        return self.split_row("test" if "test" in usable else usable[0])

    def schema_json(self) -> Any:
        return None if self.schema is None else plain(self.schema)


def prepare(
    plan: Plan, workshop: Workshop, folder: Path, cache: Cache | None, listen: Listener
) -> Prepared:
    """Load all splits in one process, then probe the models, several at a time.

    A model that was probed before with the same file, options, data and code is not loaded again.

    Raises
    ------
    SpecError
        A threat names columns that the data lack.
    """
    device = find_device(plan.spec.execution.device)
    decoded = decode_splits(plan, workshop, folder, cache, listen)
    if decoded.schema is not None:
        problems = column_problems(plan.spec.threats, decoded.schema)
        if problems:
            raise SpecError(problems, plan.spec.source)
    offers = Needs.NONE
    if plan.spec.data is not None:
        usable = {role: facts for role, facts in decoded.facts.items() if not facts.problem}
        offers = data_offers(usable, decoded.labelled, plan.spec.data.task)
    prepared = Prepared(
        plan=plan, folder=folder, arrays=decoded.folder, device=device, models={},
        splits=decoded.facts, schema=decoded.schema, offers=offers,
    )  # fmt: skip
    return replace(prepared, models=_models(prepared, workshop, cache, listen))


def _models(
    prepared: Prepared, workshop: Workshop, cache: Cache | None, listen: Listener
) -> dict[str, ModelFacts]:
    """Return the facts of every model, from the cache or by probing.

    Where the data cannot be used, what a model then lacks is no fault of its own: such models say
    what is wrong with the data, and without any data they are not tried.
    """
    plan = prepared.plan
    wrong = next((split.problem for split in prepared.splits.values() if split.problem), "")
    if wrong and prepared.schema is None:
        return {model.name: _blamed(model, wrong) for model in plan.models}
    # named sets aside, every split has its part in what the classes and columns are
    wrong = next((s.problem for r, s in prepared.splits.items() if s.problem and "." not in r), "")
    known: dict[str, ModelFacts] = {}
    keys: dict[str, str] = {}
    jobs = []
    for model in plan.models:
        payload = _model_payload(prepared, model)
        key = _probe_key(prepared, model, payload)
        facts = _kept_facts(cache, key)
        if facts is not None:
            known[model.name] = facts
            continue
        job = f"model {model.name}"
        keys[job] = key
        jobs.append(make_job(plan, job, "model:probe_model", payload, prepared.folder))
    answers = gather(workshop, jobs, listen)
    for model in plan.models:
        answer = answers.get(f"model {model.name}")
        if answer is None:
            continue
        if isinstance(answer, Crashed):
            known[model.name] = _unusable(model, f"models.{model.name}: {answer.error}")
            continue
        facts = adapter(ModelFacts).validate_python(answer.value["facts"])
        if facts.problem and wrong:
            facts = _blamed(model, wrong)
        known[model.name] = facts
        key = keys[answer.key]
        if cache is not None and key and not facts.problem:
            with cache.put("bundles", key) as place:
                (place / "facts.json").write_bytes(to_json(answer.value["facts"]))
    return {model.name: known[model.name] for model in plan.models}


def _probe_key(prepared: Prepared, model: PlannedModel, payload: Any) -> str:
    """Return what decides a model's facts; empty when its file cannot be read, or when the model
    may have changed all the same.
    """
    entry = payload["model"]
    if getattr(prepared.plan.registry.model_loaders[entry["loader"]], "changes", False):
        return ""
    owner = prepared.plan.registry.owner("model_loaders", entry["loader"])
    rows = payload["probe"]
    try:
        file = file_digest(entry["path"])
    except ModelError:
        return ""
    return digest(
        {
            "file": file,
            "code": code_digest(entry["options"], Path(payload["base"])),
            "entry": {key: value for key, value in entry.items() if key != "path"},
            "loader": plugin_digest(owner.distribution, owner.module),
            "schema": payload["data_schema"],
            "rows": None if rows is None else rows["facts"]["digest"],
            "measured": {
                row["facts"]["role"]: row["facts"]["digest"] for row in payload["measured"]
            },
            "device": prepared.device,
            "threads": payload["threads"],
            "versions": versions(NUMERICAL),
            "robreport": __version__,
        }
    )


def _kept_facts(cache: Cache | None, key: str) -> ModelFacts | None:
    place = cache.get("bundles", key) if cache is not None and key else None
    if place is None:
        return None
    tree = from_json((place / "facts.json").read_bytes(), "facts.json")
    return cast(ModelFacts, adapter(ModelFacts).validate_python(tree))


def model_entry(model: PlannedModel) -> dict[str, Any]:
    """Return a model's entry as plain values for a worker."""
    entry = model.entry
    return {
        "name": entry.name,
        "version": entry.version,
        "loader": entry.loader,
        "declared_path": entry.path,
        "path": str(model.path) if model.path is not None else None,
        "sha256": entry.sha256,
        "trusted": entry.trusted,
        "options": model.options.model_dump(mode="json"),
    }


def common_payload(prepared: Prepared) -> dict[str, Any]:
    """Return what every worker is told."""
    spec = prepared.plan.spec
    return {
        "allow": spec.plugins.allow,
        "base": str(spec.base),
        "device": prepared.device,
        "threads": spec.execution.threads,
        "data_schema": prepared.schema_json(),
    }


def _model_payload(prepared: Prepared, model: PlannedModel) -> dict[str, Any]:
    used = {r for unit in prepared.plan.units if unit.model == model.entry.name for r in unit.roles}
    usable = [role for role, facts in prepared.splits.items() if role in used and not facts.problem]
    return {
        **common_payload(prepared),
        "model": model_entry(model),
        "probe": prepared.example_row(),
        "measured": [prepared.split_row(role) for role in usable],
    }


def _blamed(model: PlannedModel, wrong: str) -> ModelFacts:
    """Return the facts of a model that cannot be tried: its file is amiss, or else the data is."""
    try:
        file_digest(str(model.path) if model.path is not None else None)
    except ModelError as error:
        return _unusable(model, str(error))
    return _unusable(model, wrong)


def _unusable(model: PlannedModel, problem: str) -> ModelFacts:
    entry = model.entry
    return ModelFacts(
        name=entry.name, version=entry.version, loader=entry.loader, path=entry.path or "",
        digest="", kind="", offers=(), n_outputs=0, input_shape=None, trusted=entry.trusted,
        problem=problem,
    )  # fmt: skip

"""Cache keys, seeds and ids: digests of everything that decides an outcome, and nothing else."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from typing import Any

from robreport import __version__
from robreport.cache import digest
from robreport.codec import plain
from robreport.environment import NUMERICAL, plugin_digest, versions
from robreport.planned import Unit
from robreport.prepare import Prepared, model_entry


class Keys:
    """Cache keys: everything that decides an outcome, and nothing else."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        plan = prepared.plan
        wrappers = sorted(
            (record.distribution, record.version, plugin_digest(record.distribution, record.module))
            for record in plan.registry.wrapping
        )
        self._common = {
            "threads": plan.spec.execution.threads,
            "device": prepared.device,
            "seed": plan.spec.audit.seed,
            "schema": prepared.schema_json(),
            "versions": versions(NUMERICAL),
            "python": platform.python_version(),
            "robreport": __version__,
            "wrappers": wrappers,
        }

    def unit(self, unit: Unit, outcomes: Sequence[object] = ()) -> str:
        """Return the key of a unit's outcome; a comparison's holds those it compares.

        A model's name is a part of it: a metric sees that name, and may write it down.
        """
        prepared = self._prepared
        registry = prepared.plan.registry
        owner = registry.owner("metrics", unit.metric.id)
        return digest(
            {
                **self._common,
                "metric": unit.metric.id,
                "params": unit.params.model_dump(mode="json"),
                "set": sorted(unit.params.model_fields_set),
                "threats": plain(unit.threats),
                "code": plugin_digest(owner.distribution, owner.module),
                "model": self._model(unit.model),
                "name": unit.model,
                "splits": {role: prepared.splits[role].digest for role in unit.roles},
                "outcomes": outcomes,
            }
        )

    def artifact(self, unit: Unit) -> str:
        """Return the key under which the entries of a metric share fitted artifacts.

        Metrics do not share with each other: each has a seed of its own, so that what is fitted
        would depend on which came first.
        """
        prepared = self._prepared
        owner = prepared.plan.registry.owner("metrics", unit.metric.id)
        return digest(
            {
                **self._common,
                "metric": unit.metric.id,
                "code": plugin_digest(owner.distribution, owner.module),
                "model": self._model(unit.model),
                "splits": {role: prepared.splits[role].digest for role in unit.roles},
            }
        )

    def history(self, unit: Unit) -> str:
        """Return the key under which the time that a unit took is remembered."""
        return digest(
            {
                "metric": unit.metric.id,
                "params": unit.params.model_dump(mode="json"),
                "threats": plain(unit.threats),
                "model": self._model(unit.model),
                "sizes": {role: self._prepared.splits[role].n for role in unit.roles},
            }
        )

    def _model(self, name: str | None) -> Any:
        if name is None:
            return None
        plan = self._prepared.plan
        planned = next(model for model in plan.models if model.name == name)
        owner = plan.registry.owner("model_loaders", planned.entry.loader)
        entry = model_entry(planned)
        facts = self._prepared.models[name]
        return {
            "digest": facts.digest,
            "facts": dict(facts.facts),
            "loader": plugin_digest(owner.distribution, owner.module),
            **{key: entry[key] for key in ("loader", "options", "trusted")},
        }


def metric_seed(seed: int, metric: str) -> int:
    """Return a metric's own seed, the same for every model: 32 bits of a hash."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{metric}".encode()).digest()[:4], "big")


def audit_id(identity: str) -> str:
    """Return a short readable id of a digest: eight letters and digits without look-alikes."""
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    number = int(identity[:16], 16)
    letters = "".join(alphabet[(number >> (5 * i)) & 31] for i in range(8))
    return f"{letters[:4]}-{letters[4:]}"

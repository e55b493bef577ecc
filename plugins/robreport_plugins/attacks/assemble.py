"""A campaign's numbers, tables, charts, pictures, checks and sentences as one `Result`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import DataSchema, Figure, Finding, ImageGrid, Result, Table, ThreatModel
from robreport_plugins.attacks.campaign import Campaign
from robreport_plugins.attacks.classes import (
    by_class,
    class_findings,
    class_table,
    confusion_figure,
    least_robust,
    targets_figure,
)
from robreport_plugins.attacks.figures import accuracy_chart
from robreport_plugins.attacks.gallery import example_table, image_gallery
from robreport_plugins.attacks.params import SuiteParams
from robreport_plugins.attacks.sanity import checks
from robreport_plugins.attacks.summary import (
    attack_table,
    broken_eps,
    broken_eps_of_each,
    keys,
    scalars,
    spent,
    worst_case_table,
)
from robreport_plugins.attacks.target import arena
from robreport_plugins.attacks.wording import answer, findings


def assemble(
    campaign: Campaign, threats: Sequence[ThreatModel], params: SuiteParams, schema: DataSchema
) -> Result:
    """Return everything that the suite has to say about one model.

    Arrays: ``index`` (rows in the source), ``label``, ``predicted`` without an attack, and
    ``broken_eps.THREAT``, the smallest declared radius that broke each input, and
    ``broken_eps.THREAT.ATTACK``, the same of each attack by itself; ``shown.THREAT``,
    the perturbed inputs of the gallery, and ``shown_index.THREAT``, their rows in the source.
    """
    ids = keys(threat.name for threat in threats)
    found = scalars(campaign, threats)
    tables: dict[str, Table] = {
        "worst_case": worst_case_table(campaign, threats),
        "attacks": attack_table(campaign, threats, params),
    }
    figures: dict[str, Figure] = {}
    named: list[Finding] = []
    weakest: list[str] = []
    images: dict[str, ImageGrid] = {}
    arrays: dict[str, npt.NDArray[Any]] = {
        "index": campaign.target.index,
        "label": campaign.target.y,
        "predicted": campaign.predicted,
    }
    for threat in threats:
        key = ids[threat.name]
        figures[f"robust_accuracy.{key}"] = accuracy_chart(
            campaign, threat, found["clean_accuracy"]
        )
        if (grid := image_gallery(campaign, threat, schema)) is not None:
            images[f"gallery.{key}"] = grid
        elif (rows := example_table(campaign, threat, schema)) is not None:
            tables[f"examples.{key}"] = rows
        if (classes := by_class(campaign, threat, schema.classes)) is not None:
            tables[f"classes.{key}"] = class_table(classes)
            weakest.append(least_robust(classes))
            figures[f"labels.{key}"] = confusion_figure(classes)
            if (moved := targets_figure(campaign, threat, classes)) is not None:
                figures[f"targets.{key}"] = moved
            named += class_findings(classes, f"classes.{key}")
        shown = campaign.shown.get(arena(threat), ())
        if shown:
            arrays[f"shown.{key}"] = np.stack([s.x_adv for s in shown])
            arrays[f"shown_index.{key}"] = campaign.target.index[[s.row for s in shown]]
        arrays[f"broken_eps.{key}"] = broken_eps(campaign, threat)
        for name, least in broken_eps_of_each(campaign, threat).items():
            arrays[f"broken_eps.{key}.{name}"] = least
    passed, caveats = checks(campaign)
    said = answer(campaign, threats, found["clean_accuracy"])
    if weakest and campaign.right.any() and len(schema.classes) != 1:
        said += f" Least robust: {'; '.join(weakest)}."
    return Result(
        answer=said,
        scalars=found,
        tables=tables,
        figures=figures,
        images=images,
        findings=(
            *findings(campaign, threats, schema.n_classes or campaign.target.model.n_outputs),
            *named,
        ),
        caveats=caveats,
        checks=passed,
        arrays=arrays,
        spent=spent(campaign, threats),
    )

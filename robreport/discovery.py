"""Find the installed plugins, whatever state their packages are in."""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from robreport.distributions import name_and_version

GROUP = "robreport.plugins"
ENVIRONMENT = "ROBREPORT_PLUGINS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A plugin that could be loaded: where it was found, and how to import it."""

    name: str
    distribution: str
    version: str
    module: str
    load: Callable[[], Any]


def installed(allow: Collection[str] | None = None) -> list[Candidate]:
    """Return the installed plugins that may be loaded, the built-in ones first.

    `allow` names distributions; the environment variable ``ROBREPORT_PLUGINS`` (names of
    plugins or distributions, comma-separated) restricts further.
    """
    wanted = os.environ.get(ENVIRONMENT)
    names = {word.strip() for word in wanted.split(",") if word.strip()} if wanted else None
    allowed = None if allow is None else {_normal(name) for name in allow}
    distributions = {_normal(name) for name in names or ()}
    found = []
    seen = set()
    # not `entry_points()`: one package with damaged metadata would hide everybody's plugins
    for installation in importlib.metadata.distributions():
        distribution, version, points = _offered(installation)
        # the first on the path is the one that is imported
        if distribution in seen:
            continue
        seen.add(distribution)
        if allowed is not None and _normal(distribution) not in allowed:
            continue
        for point in points:
            if names is None or point.name in names or _normal(distribution) in distributions:
                found.append(
                    Candidate(
                        name=point.name,
                        distribution=distribution,
                        version=version,
                        module=point.value.partition(":")[0].strip(),
                        load=point.load,
                    )
                )
    return sorted(
        found,
        key=lambda c: (c.distribution != "robreport", c.distribution, c.name, c.module),
    )


def _offered(
    installation: importlib.metadata.Distribution,
) -> tuple[str, str, list[importlib.metadata.EntryPoint]]:
    """Return name, version and plugins of a distribution; what cannot be read is left out."""
    try:
        name, version = name_and_version(installation)
        points = [point for point in installation.entry_points if point.group == GROUP]
        return name or "unknown", version or "unknown", points
    except Exception as error:  # noqa: BLE001 - anybody's metadata, damaged in any way
        return f"unreadable: {error}", "", []


def _normal(distribution: str) -> str:
    """Return a distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()

"""Names and versions of what is installed, read without parsing whole files of metadata."""

from __future__ import annotations

import functools
import importlib.metadata
import re

_FIELD = re.compile(r"^(Name|Version):[ \t]*(\S.*?)[ \t]*$", re.M)


def name_and_version(installation: importlib.metadata.Distribution) -> tuple[str, str]:
    """Return both fields; empty where the metadata does not have them.

    `Distribution.version` parses the description too, which often is a long page.
    """
    text = installation.read_text("METADATA") or installation.read_text("PKG-INFO") or ""
    head = text.replace("\r\n", "\n").partition("\n\n")[0]
    found = dict(reversed(_FIELD.findall(head)))  # the first of each counts
    return found.get("Name", ""), found.get("Version", "")


@functools.cache
def version_of(name: str) -> str:
    """Return the installed version of a distribution, or an empty string."""
    try:
        installation = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return ""
    return name_and_version(installation)[1]

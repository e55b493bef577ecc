"""Elements that look alike with one style in common, which WeasyPrint then computes once.

It takes the elements with the same parent's style and the same rules as alike, unless they have
an id or a ``style`` of their own.
"""

from __future__ import annotations

import re
from collections import Counter
from xml.etree.ElementTree import Element

_PLAIN = re.compile(r"[\w\s:;.,%-]+")
"""A ``style`` that means the same within the braces of a rule."""
_LABELS = ("aria-labelledby", "aria-describedby")


def share_styles(root: Element) -> str:
    """Move ids to elements without children, and styles to rules, which are returned.

    Links lead to the same places in pages of the shipped templates and style sheets. Those of a
    theme may hide the first child of an element, or ask for ids and attributes.
    """
    _move_ids(root)
    return _rules(root)


def _move_ids(root: Element) -> None:
    elements = list(root.iter())
    linked = {one.get("href", "").removeprefix("#") for one in elements}
    labels = {word for one in elements for key in _LABELS for word in one.get(key, "").split()}
    for element in reversed(elements):
        name = element.get("id")
        if name is None:
            continue
        if name in labels - linked:
            # only another element of the same page reads it, and only on a screen
            del element.attrib["id"]
            continue
        leaf = element
        while len(leaf) and not (leaf.text or "").strip():
            leaf = leaf[0]
        if leaf is not element and leaf.get("id") is None:
            del element.attrib["id"]
            leaf.set("id", name)


def _rules(root: Element) -> str:
    """Return a rule for each ``style`` that several elements have, and give them its class."""
    elements = [one for one in root.iter() if _PLAIN.fullmatch(one.get("style", ""))]
    times = Counter(one.get("style", "") for one in elements)
    names = {
        text: f"style-{i}" for i, text in enumerate(text for text, n in times.items() if n > 1)
    }
    for element in elements:
        name = names.get(element.get("style", ""))
        if name is not None:
            del element.attrib["style"]
            element.set("class", f"{element.get('class', '')} {name}".strip())
    # no rule of a style sheet may weigh more, as none does against an element's own style
    heavy = "#style" * 4
    return "".join(f"\n.{name}:not({heavy}){{{text}}}" for text, name in names.items())

"""The printed page as WeasyPrint takes it, without the work that its own reading would do."""

from __future__ import annotations

import re
from functools import cache
from typing import Any
from xml.etree import ElementTree

from robreport.report.shared_styles import share_styles

_NOTES = re.compile(r"^::(?:foot)?note-[\w-]+ *\{[^{}]*\}$", re.M)
_MARKERS = re.compile(r"^::marker(?= *\{)", re.M)
_USES_NOTES = re.compile(r"footnote|::note|note\(\)")
_RULE = re.compile(r"^([^@{}\n]+)(\{[^{}]*\})", re.M)
_COMMA = re.compile(r",(?![^()]*\))")
_ARGUMENTS = re.compile(r"\((?:[^()]|\([^()]*\))*\)")
_ASKS_FOR = re.compile(r"(?:^|[\s>+~])([a-z]\w*)|\[([\w-]+)[^]]*]")
_IN_MARGINS = re.compile(r"@((?:top|bottom|left|right)-[a-z-]+) *\{[^{}]*\}")


def source(
    weasyprint: Any, page: str, style: str, fetcher: Any, *, shipped: bool = False
) -> tuple[Any, str]:
    """Return the page as a ``weasyprint.HTML``, and rules to add to its style sheet.

    A page that is well-formed XML, as the shipped templates make it, is read by expat, which
    takes a hundredth of the time that reading it as HTML does; what a theme's own templates make
    may need the latter.
    """
    root = _tree(page)
    lean = None
    if not _USES_NOTES.search(style):
        filled = frozenset(_IN_MARGINS.findall(style)) if shipped else None
        lean = _lean_defaults(weasyprint, filled, _words(root))

    class Page(weasyprint.HTML):  # type: ignore[misc]
        """HTML with few default styles."""

        def _ua_stylesheets(self, *given: Any, **named: Any) -> Any:
            theirs = super()._ua_stylesheets(*given, **named)
            return [lean, *theirs[1:]] if lean is not None else theirs

    if root is None:
        return Page(string=page, url_fetcher=fetcher, media_type="print"), ""
    rules = share_styles(root) if shipped else ""
    made = Page(string="<html></html>", url_fetcher=fetcher, media_type="print")
    made.wrapper_element = type(made.wrapper_element).from_html_root(root, content_language=None)
    made.etree_element = made.wrapper_element.etree_element
    return made, rules


def _words(root: ElementTree.Element | None) -> frozenset[str] | None:
    """The names of a page's elements and attributes."""
    if root is None:
        return None
    return frozenset(name for one in root.iter() for name in (one.tag, *one.attrib))


@cache
def _lean_defaults(
    weasyprint: Any, margins: frozenset[str] | None, words: frozenset[str] | None
) -> Any:
    """WeasyPrint's default style sheet without what it computes for every element and page.

    It gives each element six pseudo-elements, for notes and list markers, and each page sixteen
    boxes in its margins; a page that has no notes needs the markers of list items only, and the
    boxes that its own style sheet fills, where `margins` names them. Nor are there rules for
    elements and attributes that are not among `words`. None when that sheet is not where it was.
    """
    theirs = getattr(weasyprint.html, "UA", None)
    if not isinstance(theirs, str):
        return None
    lean = _MARKERS.sub("li::marker", _NOTES.sub("", theirs))
    if margins is not None:
        lean = _IN_MARGINS.sub(lambda rule: rule[0] if rule[1] in margins else "", lean)
    if words is not None:
        lean = _RULE.sub(lambda rule: _for_words(rule[1], rule[2], words), lean)
    return weasyprint.CSS(string=lean)


def _for_words(selectors: str, rule: str, words: frozenset[str]) -> str:
    """A rule for those of its selectors that ask for nothing but these names."""
    kept = [
        one
        for one in _COMMA.split(selectors)
        if all(tag in words or name in words
               for tag, name in _ASKS_FOR.findall(_ARGUMENTS.sub("", one.strip())))
    ]  # fmt: skip
    return f"{','.join(kept)}{rule}" if kept else ""


def _tree(page: str) -> ElementTree.Element | None:
    head, sep, rest = page.lstrip().partition("<!DOCTYPE html>")
    if head or not sep:
        return None
    try:
        root = ElementTree.fromstring(rest)
    except ElementTree.ParseError:
        return None
    # HTML takes capitals for small letters
    small = all(name == name.lower() for one in root.iter() for name in (one.tag, *one.attrib))
    return root if root.tag == "html" and small else None

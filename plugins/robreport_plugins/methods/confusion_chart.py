"""A heat map of true classes against the labels that they were given."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from robreport import Figure
from robreport_plugins.methods.labels import IntArray

_WIDTH = 560
# Up to here counts are written into the cells.
_WRITTEN = 20
_MOST_CELLS = 1500


def confusion_chart(
    names: tuple[str, ...],
    matrix: IntArray,
    *,
    totals: IntArray | None = None,
    title: str = "Confusion matrix",
    given: str = "Label given",
    caption: str = "",
    written: bool = True,
) -> Figure:
    """Return counts of true classes against labels given as a heat map of shares of the former.

    Parameters
    ----------
    names : tuple of str
        Of the k classes.
    matrix : int array (k, k)
        Examples of class i (row) that were given the label j.
    totals : int array (k,) or None
        What the shares of each row are of; None for the sums of the rows.
    written : bool
        Whether counts stand in the cells where the classes are few; else a legend tells shades.
    title, given, caption : str
        The figure's title, the title of the axis of labels, and what the caption says first.
    """
    whole = np.maximum(matrix.sum(axis=1) if totals is None else totals, 1)
    cells: list[dict[str, Any]] = [
        {"true": names[i], "label": names[j], "count": int(matrix[i, j]),
         "share": float(matrix[i, j] / whole[i])}
        for i, j in zip(*np.nonzero(matrix), strict=True)
    ]  # fmt: skip
    counts = np.sort(matrix[matrix > 0])[::-1]
    # Cells of one count are drawn all or none, so that the cut favours no class.
    least = 1 if counts.size <= _MOST_CELLS else int(counts[_MOST_CELLS]) + 1
    cells = [cell for cell in cells if cell["count"] >= least]
    dropped = int(counts.size) - len(cells)
    written = written and len(names) <= _WRITTEN
    # With counts inside, shades stop at mid-tone, so that the text keeps its contrast.
    largest = max((float(cell["share"]) for cell in cells), default=1.0)
    scale = alt.Scale(domain=[0, 1.6] if written else [0, largest])
    legend = None if written else alt.Legend(title="Share of the class", format=".0%")
    order = list(names)
    axis = alt.Axis(labelOverlap=True, labelLimit=140)
    base = alt.Chart(alt.InlineData(values=cells)).encode(
        x=alt.X("label:N", title=given, sort=order, scale=alt.Scale(domain=order),
                axis=alt.Axis(labelOverlap=True, labelLimit=140, labelAngle=_angle(names))),
        y=alt.Y("true:N", title="True class", sort=order, scale=alt.Scale(domain=order), axis=axis),
        tooltip=["true:N", "label:N", "count:Q", alt.Tooltip("share:Q", format=".1%")],
    )  # fmt: skip
    drawn: Any = base.mark_rect().encode(color=alt.Color("share:Q", scale=scale, legend=legend))
    if written:
        drawn = drawn + base.mark_text(fontSize=11 if len(names) <= 12 else 8).encode(
            text=alt.Text("count:Q", format=",d")
        )
    height = int(min(300, max(90, 28 * len(names))))
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    alt_text = (
        f"{title}: heat map of {len(names)} true classes against labels. "
        f"{int(np.diag(matrix).sum()):,} of {int(matrix.sum()):,} examples lie on the diagonal."
    )
    if wrong.any():
        i, j = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        alt_text += (
            f" The most frequent confusion is {names[i]} labelled {names[j]}: "
            f"{int(wrong[i, j]):,} of {int(whole[i]):,}."
        )
    caption += " The darker, the larger the share of the true class; blank cells hold no example."
    if dropped:
        caption += f" {dropped:,} cells of fewer than {least} examples are not drawn."
    return Figure.from_chart(
        drawn.properties(width=_WIDTH, height=height),
        title=title,
        caption=caption.strip(),
        alt=alt_text,
    )


def _angle(names: tuple[str, ...]) -> int:
    return 0 if max(map(len, names)) * 7 * len(names) <= _WIDTH else -45

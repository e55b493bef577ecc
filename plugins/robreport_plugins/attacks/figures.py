"""Robust accuracy against the radius, as charts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from robreport import Figure, Scalar, ThreatModel
from robreport_plugins.attacks.rules import COUNTED, symbol, units
from robreport_plugins.attacks.summary import points, share

if TYPE_CHECKING:
    from robreport_plugins.attacks.campaign import Campaign

WORST = "all attacks together"
_COLUMNS = 4


def accuracy_chart(campaign: Campaign, threat: ThreatModel, clean: Scalar) -> Figure:
    """Return robust accuracy against the radius of one threat: worst case, band, each attack."""
    worst = {p.eps.value: p.robust for p in points(campaign, [threat])}
    values = sorted({0.0, *worst})
    rows = [row(0.0, WORST, clean)]
    rows += [row(eps, WORST, worst[eps]) for eps in values if eps > 0]
    right = int(campaign.right.sum())
    titles = dict.fromkeys(t.attack.title for e in worst for t in campaign.of(threat, e))
    if len(titles) > 1:
        for title in titles:
            rows.append(row(0.0, title, clean))
            for eps in values[1:] if values[0] == 0 else values:
                for trial in campaign.of(threat, eps):
                    if trial.attack.title == title:
                        left = right - int(trial.broken.sum())
                        rows.append(row(eps, title, share(left, campaign.n, better=None)))
    norm = symbol(threat)
    largest = max(threat.eps)
    left_over = worst[largest.value].value or 0.0
    series = [WORST, *titles] if len(titles) > 1 else [WORST]
    chart = lines(rows, series, f"{threat.norm.symbol}, {units(threat)}", "attack")
    return Figure.from_chart(
        chart,
        title=f"Robust accuracy against \u03b5, {norm} (threat {threat.name})",
        caption=(
            "Accuracy that the attacks leave; \u03b5 = 0 is the clean accuracy. The thick line is "
            "the worst case input by input, an upper bound of the robust accuracy, with its 95 % "
            f"Clopper-Pearson band; n = {campaign.n} test inputs."
        ),
        alt=(
            f"Line chart: accuracy falls from {100 * (clean.value or 0):.1f} percent without an "
            f"attack to {100 * left_over:.1f} percent at epsilon {largest} in {norm}."
        ),
    )


def row(eps: float, series: str, scalar: Scalar) -> dict[str, Any]:
    """Return one datum of a chart."""
    return {
        "eps": eps,
        "series": series,
        "accuracy": scalar.value,
        "low": scalar.low,
        "high": scalar.high,
    }


def lines(
    rows: Sequence[dict[str, Any]],
    order: Sequence[str],
    axis: str,
    what: str,
) -> Any:
    """Return an Altair chart of lines over the radius, the first series with band and thick.

    For ``what = "model"`` every series has its band.
    """
    import altair as alt

    banded = list(rows) if what == "model" else [r for r in rows if r["series"] == order[0]]
    # features are counted
    ticks = alt.Axis(tickMinStep=1) if axis.endswith(COUNTED) else alt.Axis()
    x = alt.X("eps:Q", title=f"perturbation size \u03b5 ({axis})", axis=ticks)
    y = alt.Y("accuracy:Q", title="accuracy", scale=alt.Scale(domain=[0, 1]),
              axis=alt.Axis(format=".0%"))  # fmt: skip
    # as wide as the chart at most, for the whole would shrink with it
    legend = alt.Legend(orient="bottom", symbolType="stroke", symbolOpacity=1, columns=_COLUMNS)
    colour = alt.Color(
        "series:N",
        title=None,
        sort=list(order),
        scale=alt.Scale(domain=list(order)),
        legend=legend if len(order) > 1 else None,
    )
    tooltip = [
        alt.Tooltip("series:N", title=what),
        alt.Tooltip("eps:Q", title="\u03b5"),
        alt.Tooltip("accuracy:Q", title="accuracy", format=".1%"),
        alt.Tooltip("low:Q", title="95 % from", format=".1%"),
        alt.Tooltip("high:Q", title="to", format=".1%"),
    ]
    base = alt.Chart({"values": list(rows)})
    band = (
        alt.Chart({"values": banded})
        .mark_area(opacity=0.15, line=False)
        .encode(x=x, y=alt.Y("low:Q", title="accuracy"), y2="high:Q", color=colour)
    )
    # Greyscale and colour-blind safe: a dash for each series, and a mark for each point.
    dashes = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3]]
    stroke = alt.StrokeDash(
        "series:N",
        sort=list(order),
        scale=alt.Scale(domain=list(order), range=[dashes[i % 6] for i in range(len(order))]),
        title=None,
        # of more series than colours it is the dashes that tell them apart
        legend=legend if len(order) > 1 else None,
    )
    line = base.mark_line(point=True).encode(
        x=x,
        y=y,
        color=colour,
        strokeDash=stroke,
        tooltip=tooltip,
        strokeWidth=alt.condition(
            alt.datum.series == order[0], alt.value(2.5), alt.value(2.5 if what == "model" else 1.5)
        ),
    )
    return alt.layer(band, line).properties(width=560, height=180)

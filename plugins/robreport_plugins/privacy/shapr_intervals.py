"""How far SHAPr's summaries would move with other test points and other records."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from robreport import Interval, stats
from robreport_plugins.privacy.shapr import ROUNDING, ShaprScores

FloatArray = npt.NDArray[np.float64]


class Spread:
    """Scores of all records with the same scores lacking each group of test points in turn."""

    def __init__(self, found: ShaprScores) -> None:
        self.records = int(found.cell.size)
        self.test_points = int(found.worth.size)
        self.groups = int(found.group_sizes.size)
        self._scores = found.scores
        self._share = np.bincount(found.cell) / self.records
        self._cell = found.cell
        self._without = found.leave_one_out() if self.groups > 1 else None

    def share_above(self, threshold: float | FloatArray) -> tuple[float, Interval]:
        """Return the share of records above `threshold` (one number, or one per record).

        Wilson's interval at an effective number of records n' with
        ``p(1-p)/n' = p(1-p)/n + s^2``: the records are a sample, and so are the test points,
        whose part s is a delete-a-group jackknife.
        """
        value = float(np.mean(self._scores > threshold + ROUNDING))
        return value, self._wilson(value, self._jackknifed_share(threshold))

    def quantile(self, q: float) -> tuple[float, Interval]:
        """Return a quantile of the scores with Woodruff's interval.

        The ends are the quantiles at the ends of the interval of the share below the estimate,
        made as in `share_above`.
        """
        value = float(np.quantile(self._scores, q))
        levels = self._wilson(q, self._jackknifed_share(value))
        low, high = (float(x) for x in np.quantile(self._scores, [levels.low, levels.high]))
        method = levels.method.replace("Wilson", "Woodruff")
        return value, Interval(low=min(low, value), high=max(high, value), method=method)

    def of_record(self, record: int) -> Interval | None:
        """Return the interval of one record's score over test points; None with a single group.

        Student's t with a delete-a-group jackknife. A record picked for its high score is likely
        to owe a part of it to chance, which no interval of its own shows.
        """
        from scipy.special import stdtrit

        if self._without is None:
            return None
        error = _jackknife(self._without[:, self._cell[record]])
        half = float(stdtrit(self.groups - 1, 0.975)) * error
        value = float(self._scores[record])
        method = f"95 % jackknife over {self.groups} groups of test points"
        return Interval(low=value - half, high=value + half, method=method)

    def _jackknifed_share(self, threshold: float | FloatArray) -> float:
        if self._without is None:
            return 0.0
        if isinstance(threshold, np.ndarray):
            # One threshold per record, the same within a cell: a cell has one label.
            per_cell: FloatArray = np.empty(self._share.size)
            per_cell[self._cell] = threshold
            threshold = per_cell
        return _jackknife((self._without > threshold + ROUNDING) @ self._share)

    def _wilson(self, share: float, error: float) -> Interval:
        spread = share * (1 - share)
        size = float(self.records)
        if spread > 0 and error > 0:
            size = spread / (spread / self.records + error**2)
        ends = stats.wilson(share * size, size)
        over = f"{self.groups} groups of test points" if self._without is not None else "records"
        method = f"95 % Wilson, effective n {size:,.0f} (records and {over})"
        if self._without is None:
            method = "95 % Wilson over records (one test point: its choice is not covered)"
        return Interval(low=min(ends.low, share), high=max(ends.high, share), method=method)


def _jackknife(values: FloatArray) -> float:
    """Return the standard error from delete-a-group values: ``sqrt((G-1)/G sum (v - mean)^2)``."""
    groups = values.size
    return math.sqrt((groups - 1) / groups * float(np.sum((values - values.mean()) ** 2)))

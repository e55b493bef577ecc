"""Sizes of the errors of predicted values, as statistics of resample counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def counted_errors(
    y: FloatArray, residual: FloatArray, quantiles: tuple[float, ...]
) -> Callable[[FloatArray], FloatArray]:
    """Return a statistic of resample counts with the usual errors, ``(draws, 5 + q)``.

    Columns: R² (NaN where the true values do not vary), mean absolute, root mean squared and
    median absolute error, bias (mean of predicted minus true), then the quantiles of the
    residuals by linear interpolation (Hyndman and Fan's type 7).
    """
    # Shifted by the mean: the sums of squares then lose no digits to a large offset.
    centred = y - y.mean()
    sums = np.stack([residual, np.abs(residual), residual**2, centred, centred**2], axis=1)
    order, size_order = np.argsort(residual, kind="stable"), np.argsort(np.abs(residual))
    ordered, sizes = residual[order], np.abs(residual)[size_order]
    varies = bool(np.any(y != y[0]))

    def statistic(counts: FloatArray) -> FloatArray:
        n = counts.sum(axis=1, keepdims=True)
        bias, mae, mse, mean, square = (counts @ sums / n).T
        spread = square - mean**2
        # A resample of one value repeated leaves rounding dust where the variance is 0.
        real = varies & (spread > 1e-12 * np.maximum(square, np.finfo(float).tiny))
        r2: FloatArray = np.full(mse.size, np.nan)
        r2[real] = 1 - mse[real] / spread[real]
        median = weighted_quantiles(sizes, counts[:, size_order], (0.5,))
        tails = weighted_quantiles(ordered, counts[:, order], quantiles)
        return np.column_stack([r2, mae, np.sqrt(mse), median, bias, tails])

    return statistic


def weighted_quantiles(
    ordered: FloatArray, counts: FloatArray, quantiles: tuple[float, ...]
) -> FloatArray:
    """Return quantiles ``(draws, q)`` of ascending values that came `counts` times each.

    Equal to ``np.quantile(np.repeat(ordered, counts_row), quantiles)`` for every row.
    """
    upto = np.cumsum(counts, axis=1)
    total = upto[:, -1]
    columns = []
    for q in quantiles:
        position = (total - 1) * q
        left = np.floor(position)
        low = ordered[(upto > left[:, None]).argmax(axis=1)]
        right = np.minimum(left + 1, total - 1)
        high = ordered[(upto > right[:, None]).argmax(axis=1)]
        columns.append(low + (high - low) * (position - left))
    return np.column_stack(columns)

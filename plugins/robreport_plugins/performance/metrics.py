"""The metrics of performance: what they declare. The measuring is imported when it runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from robreport import Bundle, Context, Metric, Needs, Result
from robreport import Params as ParamsBase


class ClassificationParams(ParamsBase):
    """How intervals, bins and the tail are made."""

    interval: Literal["wilson", "clopper-pearson"] = Field(
        default="wilson",
        description="interval of plain shares: Wilson, or the exact Clopper-Pearson (wider)",
    )
    draws: int = Field(
        default=1000,
        ge=100,
        le=100_000,
        description="bootstrap draws behind intervals without a closed form",
    )
    bins: int = Field(
        default=15, ge=2, le=200, description="bins of confidence for the calibration error"
    )
    binning: Literal["fixed", "adaptive"] = Field(
        default="fixed", description="bins of equal width, or of equal count"
    )
    tail: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="share of the worst losses that the conditional value at risk averages",
    )


class ClassificationPerformance(Metric):
    """Accuracy, its companions per class, and the quality of the probabilities."""

    id = "performance.classification"
    title = "Classification performance"
    question = "How often is the model right, and does it know when it is not?"
    summary = (
        "The model labels the test set once. Accuracy, balanced accuracy, precision, recall and F1 "
        "come from the confusion matrix. Where the model gives probabilities, log-loss, Brier "
        "score, calibration error, area under the ROC curve, entropy and the mean of the worst "
        "losses are made from them. Averages over classes give every class that has examples the "
        "same weight."
    )
    reading = (
        "Read the worst class beside the average. In the reliability diagram, bars below the "
        "diagonal are overconfidence. A calibration error is above zero for any finite test set: "
        "compare it with the error that a perfectly calibrated model would show."
    )
    limits = (
        "It holds for data like the test set, and says nothing of attacks, of shifted inputs, or "
        "of groups that the labels do not name. Intervals cover the choice of test examples, not "
        "the training of another model."
    )
    references = (
        "Wilson, Probable inference, JASA 22 (1927)",
        "Guo et al., On calibration of modern neural networks, arXiv:1706.04599",
        "DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988)",
        "Rockafellar, Uryasev, Conditional value-at-risk, J. Banking & Finance 26 (2002)",
    )
    knowledge = "model outputs"
    needs = Needs.CLASSIFICATION | Needs.LABELS
    splits = ("test",)
    scalar_help = {  # noqa: RUF012 - declared once, never changed
        "clean_accuracy": "share of test examples labelled right",
        "balanced_accuracy": "mean over classes of the share labelled right; equals macro_recall",
        "macro_precision": "mean over classes of right / given that label; never given counts 0",
        "macro_recall": "mean over classes of right / of that class",
        "macro_f1": "mean over classes of the harmonic mean of precision and recall",
        "top5_accuracy": "share with the true class among the five most probable (over 5 classes)",
        "log_loss": "mean of -ln p(true class), in nats; probabilities below 2.2e-16 count as that",
        "brier_score": "mean of the squared error summed over classes, 0 to 2",
        "expected_calibration_error": "mean gap between confidence and accuracy over bins",
        "calibration_error_if_calibrated": "the same for a perfectly calibrated model, simulated",
        "confidence_gap": "mean confidence minus accuracy; above 0 is overconfidence",
        "roc_auc_ovr": "mean over classes of the area under the ROC curve against the rest",
        "mean_entropy": "mean entropy of the predicted probabilities, in nats",
        "uncertainty_rejection_auc": "mean accuracy as the most uncertain are rejected, by entropy",
        "cvar_log_loss": "mean log-loss of the worst share (tail) of the examples, in nats",
    }
    Params = ClassificationParams

    def compute(self, bundle: Bundle, params: ParamsBase, ctx: Context) -> Result:
        """Label the test set and score the labels and the probabilities."""
        from robreport_plugins.performance.classification import measure

        if not isinstance(params, ClassificationParams):
            raise TypeError(f"{self.id} needs its own Params, not {type(params).__name__}")
        return measure(bundle, params, ctx)


class RegressionParams(ParamsBase):
    """How intervals and charts are made."""

    draws: int = Field(default=1000, ge=100, le=100_000, description="bootstrap draws")
    quantiles: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        default=(0.05, 0.25, 0.5, 0.75, 0.95),
        min_length=1,
        max_length=20,
        description="quantiles of the residuals to report, each between 0 and 1",
    )


class RegressionPerformance(Metric):
    """Explained variance and the sizes of the errors."""

    id = "performance.regression"
    title = "Regression performance"
    question = "How far are the model's values from the true ones?"
    summary = (
        "The model predicts the test set once. Residuals are predicted minus true. The explained "
        "share of the variance, the mean, the root mean square and the median of the errors, the "
        "bias and quantiles of the residuals are given with bootstrap intervals over the examples."
    )
    reading = (
        "Errors are in the unit of the target. R² compares with always answering the test set's "
        "mean: 0 is no better, below 0 is worse. A bias above 0 means values too high on average."
    )
    limits = (
        "It holds for data like the test set. Intervals cover the choice of test examples, not "
        "the training of another model; with few examples or heavy tails they are too narrow."
    )
    references = ("Efron, Tibshirani, An Introduction to the Bootstrap (1993)",)
    knowledge = "model outputs"
    needs = Needs.REGRESSION | Needs.LABELS
    splits = ("test",)
    scalar_help = {  # noqa: RUF012 - declared once, never changed
        "r2": "1 - sum of squared residuals / sum of squared deviations from the mean",
        "mean_absolute_error": "mean of |predicted - true|",
        "root_mean_squared_error": "root of the mean of (predicted - true) squared",
        "median_absolute_error": "median of |predicted - true|",
        "bias": "mean of predicted - true",
        "residual_quantile[q]": "q-quantile of predicted - true",
    }
    Params = RegressionParams

    def compute(self, bundle: Bundle, params: ParamsBase, ctx: Context) -> Result:
        """Predict the test set and describe the residuals."""
        from robreport_plugins.performance.regression import measure

        if not isinstance(params, RegressionParams):
            raise TypeError(f"{self.id} needs its own Params, not {type(params).__name__}")
        return measure(bundle, params, ctx)

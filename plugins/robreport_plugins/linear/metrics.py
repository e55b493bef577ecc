"""The metrics of linear classifiers: what they declare. The measuring is imported when it runs."""

from __future__ import annotations

from typing import ClassVar

from robreport import Bundle, Context, Metric, Needs, Result
from robreport import Params as ParamsBase
from robreport_plugins.linear.params import AttackParams, HingeParams

_SOURCES = (
    "Xu, Caramanis, Mannor: Robustness and regularization of support vector machines, JMLR 10, "
    "2009",
    "Ben-Tal, El Ghaoui, Nemirovski: Robust Optimization, Princeton University Press, 2009",
)


class RobustHinge(Metric):
    """Linear classifiers trained with the hinge and the robust hinge loss, attacked exactly."""

    id = "linear.robust_hinge"
    title = "Robust linear classifiers"
    question = "What does robustness cost and buy on this data, for a linear classifier?"
    summary = (
        "Trains linear classifiers on the training set: one with the regular hinge loss, and one "
        "for each \u03b5 with the robust hinge loss, the largest hinge loss within distance \u03b5 "
        "of each example, max(0, 1 \u2212 y f(x) + \u03b5 \u2016w\u2016) in the dual norm. Then "
        "attacks each of them on the test set. For a linear classifier the worst perturbation is "
        "known in closed form (within the data's bounds it is the solution of a small convex "
        "problem), so every robust accuracy here is exact, not an upper bound."
    )
    reading = (
        "The regular model shows what the data gives when nobody interferes; each robust one what "
        "is left of it in exchange for keeping its decisions within \u03b5. Where a declared model "
        "falls faster than these, it gives away robustness that a linear model has."
    )
    limits = (
        "Linear classifiers only: a network may be more accurate, and more or less robust. Exact "
        "means exact for these models, this norm and these test inputs; the interval says how far "
        "the test set may mislead."
    )
    references = _SOURCES
    knowledge = "data"
    needs = Needs.LABELS | Needs.CLASSIFICATION
    splits = ("train", "test")
    scope = "data"
    threats = "optional"
    norms = ("L1", "L2", "Linf")
    scalar_help: ClassVar[dict[str, str]] = {
        "train_accuracy[norm, trained]": (
            "share of the training set that the model trained against this eps gets right; 0 is "
            "the regular model. The facet norm is the threat's name, else linf, l2 or l1"
        ),
        "train_accuracy[norm, trained, solver]": 'with solver = "both": that of the optimum',
        "test_accuracy[norm, trained]": "the same of the test set",
        "test_accuracy[norm, trained, solver]": 'with solver = "both": that of the optimum',
        "robust_accuracy[norm, trained, eps]": (
            "share of the test set that the model trained against the first eps gets right "
            "whatever the perturbation of the second: exact"
        ),
        "robust_accuracy[norm, trained, eps, solver]": 'with solver = "both": of the optimum',
        "robust_hinge[norm, trained]": "mean robust hinge loss of the test set at the model's eps",
        "robust_hinge[norm, trained, solver]": 'with solver = "both": that of the optimum',
        "duality_gap[norm, trained]": (
            "how far the training loss is above a proven lower bound of the minimum, divided by "
            "the loss (at least 0.001); known when an optimum was computed. Trained against 0, the "
            "bound is for weights of at most ten thousand over the largest distance of a feature "
            "from the middle of its range, in the L2 norm"
        ),
        "duality_gap[norm, trained, solver]": 'with solver = "both": that of the optimum',
        "zero_weights[norm, trained]": (
            "share of the weights that move the score by less than 0.001 while their feature goes "
            "from one of its bounds to the other (without bounds: through its values in the "
            "training set): |w| < 0.001 where inputs are from 0 to 1"
        ),
        "zero_weights[norm, trained, solver]": 'with solver = "both": that of the optimum',
        "median_flip_radius[norm, trained]": (
            "median over the test set of the distance to the decision boundary, 0 for inputs that "
            "are misclassified as they are"
        ),
        "median_flip_radius[norm, trained, solver]": 'with solver = "both": that of the optimum',
        "chosen_eps[norm]": "training eps of the highest held-out robust accuracy at the target",
    }
    Params = HingeParams

    def compute(self, bundle: Bundle, params: ParamsBase, ctx: Context) -> Result:
        """Train, attack, and put the numbers together."""
        from robreport_plugins.linear.report import measure

        if not isinstance(params, HingeParams):
            raise TypeError(f"{self.id} needs its own Params, not {type(params).__name__}")
        return measure(bundle, params, ctx)


class ExactAttack(Metric):
    """Exact robust accuracy of a declared model, where that model is linear."""

    id = "linear.exact_attack"
    title = "Exact robustness of a linear model"
    question = "How far can inputs be moved before this linear model changes its mind?"
    summary = (
        "Reads the weights of a declared model whose scores are an affine function of the input "
        "(logistic regression, a linear support vector machine, a network of linear layers; "
        "scaling before it is part of it), and computes for every test input the exact distance "
        "to the nearest other decision and the worst perturbation within each \u03b5. Each worst "
        "input is given to the model as loaded, which must agree. Other models are skipped."
    )
    reading = (
        "The curve is the truth for this model and these inputs: an attack that finds less is "
        "weak, and none can find more."
    )
    limits = (
        "Exact for this norm and these test inputs; the interval says how far the test set may "
        "mislead. Columns that hold categories or cannot be changed are left alone by the attack."
    )
    references = _SOURCES
    knowledge = "white box"
    needs = Needs.GRADIENTS | Needs.LABELS | Needs.CLASSIFICATION
    splits = ("test", "train?")
    threats = "optional"
    norms = ("L1", "L2", "Linf")
    scalar_help: ClassVar[dict[str, str]] = {
        "test_accuracy": "share of the attacked inputs that are right without an attack",
        "robust_accuracy[norm, eps]": (
            "share of the test set that the model gets right whatever the perturbation: exact. The "
            "facet norm is the threat's name, else linf, l2 or l1"
        ),
        "median_flip_radius[norm]": (
            "median distance to the decision boundary, 0 for inputs that are misclassified as "
            "they are"
        ),
    }
    Params = AttackParams

    def compute(self, bundle: Bundle, params: ParamsBase, ctx: Context) -> Result:
        """Read the weights, attack, and put the numbers together."""
        from robreport_plugins.linear.declared import measure

        if not isinstance(params, AttackParams):
            raise TypeError(f"{self.id} needs its own Params, not {type(params).__name__}")
        return measure(bundle, params, ctx)

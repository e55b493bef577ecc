"""``attacks.suite``: accuracy under adversarial attacks, judged input by input."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from robreport import Bundle, Context, Metric, Needs, Result
from robreport import Params as AnyParams
from robreport_plugins.attacks.params import SuiteParams


class AttackSuite(Metric):
    """Robust accuracy against the radius, under the worst of several attacks."""

    id = "attacks.suite"
    title = "Accuracy under attack"
    question = (
        "How much accuracy is left when inputs are changed on purpose, within a radius \u03b5?"
    )
    summary = (
        "Each attack of the suite searches, for every test input that the model gets right, a "
        "perturbation of at most \u03b5 inside the data's bounds that changes the prediction. The "
        "perturbed inputs are put back into ball and bounds in float64 and given to the model as "
        "loaded; its answer alone decides. An input counts as robust when no attack broke it at "
        "this \u03b5 or a smaller one, so robust accuracy is the worst case input by input, never "
        "an average over attacks. A preset that was published with a budget brings it where the "
        "audit sets none; the table of attacks says what each took."
    )
    reading = (
        "A point of the thick line says: with perturbations up to \u03b5, at most this share of "
        "inputs keeps its right prediction. Stronger attacks can only lower it. Read it beside the "
        "clean accuracy, where the line begins."
    )
    limits = (
        "An attack that fails proves nothing: the true robust accuracy may be lower, and only a "
        "certificate bounds it from below. Perturbations in other norms, rotations, other data, "
        "and attackers who change the training data are not covered."
    )
    references = (
        "Goodfellow, Shlens, Szegedy: Explaining and harnessing adversarial examples, ICLR 2015",
        "Madry et al.: Towards deep learning models resistant to adversarial attacks, ICLR 2018",
        "Croce, Hein: Reliable evaluation of adversarial robustness (APGD, AutoAttack), and "
        "Minimally distorted adversarial examples (FAB), ICML 2020",
        "Croce, Hein: Mind the box: l1-APGD for sparse adversarial attacks, ICML 2021",
        "Andriushchenko et al.: Square attack, ECCV 2020; Chen et al.: HopSkipJump, IEEE S&P 2020",
        "Pintor et al.: FMN, NeurIPS 2021; Rony et al.: DDN, CVPR 2019; Carlini, Wagner, "
        "IEEE S&P 2017",
        "Carlini et al.: On evaluating adversarial robustness, arXiv 1902.06705",
    )
    knowledge = "as the threat says: white box, or black box"
    scalar_help: ClassVar[dict[str, str]] = {
        "clean_accuracy": "share of the attacked inputs that are right without an attack",
        "robust_accuracy[threat, eps]": (
            "share of inputs right without an attack and under every attack, an upper bound"
        ),
        "attack_success_rate[threat, eps]": (
            "share of the inputs right without an attack that some attack broke, a lower bound"
        ),
        "attack_success_rate[threat, eps, attack]": "the same for one attack by itself",
        "median_broken_eps[threat]": (
            "smallest declared eps by which at least half of the inputs are broken; inputs that "
            "are wrong without an attack count as broken at 0, censored when more than half "
            "withstood the largest"
        ),
    }
    needs = Needs.GRADIENTS | Needs.LABELS | Needs.CLASSIFICATION
    splits = ("test", "train?")
    threats = "required"
    norms = ("L0", "L1", "L2", "Linf")
    constrained = True
    Params = SuiteParams

    @classmethod
    def needs_of(cls, params: AnyParams) -> Needs:
        """Return what the named attacks need: any one of them will do."""
        from robreport_plugins.attacks.choice import needed

        return needed(params) if isinstance(params, SuiteParams) else cls.needs

    def compute(self, bundle: Bundle, params: AnyParams, ctx: Context) -> Result:
        """Run the attacks and put their numbers together."""
        if not isinstance(params, SuiteParams):
            raise TypeError(f"attacks.suite takes SuiteParams, found {type(params).__name__}")
        from robreport_plugins.attacks.assemble import assemble
        from robreport_plugins.attacks.choice import admitted
        from robreport_plugins.attacks.suite import run_suite
        from robreport_plugins.attacks.summary import refusals
        from robreport_plugins.attacks.target import Target

        target = Target(
            bundle,
            samples=None if params.samples == "all" else params.samples,
            device=ctx.device,
            batch_size=params.batch_size,
        )
        threats, refused = admitted(params, target, ctx.threats)
        campaign = run_suite(target, threats, params, seed=ctx.seed, progress=ctx.progress)
        result = assemble(campaign, threats, params, bundle.schema)
        return replace(result, scalars={**result.scalars, **refusals(refused, target.n)})

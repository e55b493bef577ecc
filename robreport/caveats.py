"""Every caveat that the built-in metrics raise: when, what it means, what to do."""

from __future__ import annotations

from typing import NamedTuple


class CaveatText(NamedTuple):
    """What is known of a caveat whatever the audit."""

    raised_if: str
    explanation: str
    what_to_do: str


CAVEATS: dict[str, CaveatText] = {
    "absent-class": CaveatText(
        "A class of the data has no example in the test split.",
        "Nothing was measured about that class; averages over classes leave it out, so they may "
        "look better or worse than with it.",
        "Add examples of the class to the test split, or take it out of data.schema.classes.",
    ),
    "categories-not-tried": CaveatText(
        "A threat leaves categorical columns free, and none of the attacks that were run can "
        "change a category.",
        "Attacks that move by small steps leave categories as they are: what an attacker gains "
        "by changing them was not tried, so robust accuracy is overstated.",
        "Add greedy search (search), which needs scores, or transfer; or freeze the columns that "
        "an attacker cannot change.",
    ),
    "gradient-masking-suspected": CaveatText(
        "More than 1 % of the inputs that the model gets right withstood every attack and have a "
        "gradient of exactly zero, or a single step broke significantly more than an iterative "
        "attack.",
        "Attacks that follow gradients fail where there are none to follow. The robustness that "
        "was measured may be an artefact of that, not a property of the decision boundary.",
        "Add attacks that need no gradient or another loss (loss = \"margin\"), and look at what "
        "makes the gradients vanish: saturated outputs, a quantising layer, a hard threshold.",
    ),
    "gradients-of-another-model": CaveatText(
        "The module that gives the gradients and the audited model assign another class to more "
        "than 1 % of the inputs.",
        "The attacks were aimed at a model that is not quite the audited one, so they are weaker "
        "than they could be.",
        "Declare the network's input transformation (layout, pad, normalize) as it is used, or "
        "correct the loader that makes the twin.",
    ),
    "incomplete-rows": CaveatText(
        "Rows of the test split with missing values were passed over.",
        "A change of what is missing has no size, so such rows are not attacked. Clean accuracy "
        "and robust accuracy speak of complete rows alone, and those with gaps may be less robust.",
        "Fill the gaps before the audit as they are filled in production, and attack what results.",
    ),
    "label-not-most-probable": CaveatText(
        "For some inputs the label that the model returns is not its most probable class.",
        "Accuracy is measured on the labels, calibration and log-loss on the probabilities; the "
        "two speak of different decisions.",
        "Find out whether the model decides by a threshold or a cost of its own, and say so "
        "beside the report.",
    ),
    "linear-columns-left-out": CaveatText(
        "The table has columns of categories, or columns that are declared frozen.",
        "The linear classifiers were trained without them: a perturbation of a category has no "
        "size, and nobody can change a frozen column. With them accuracy could be higher.",
        "Nothing is wrong. To use a category, give it as columns of numbers before the audit.",
    ),
    "linear-constant-features": CaveatText(
        "Features have one value in all training rows.",
        "Nothing can be learned from them. Their weight is 0, so that they decide nothing where "
        "they vary later.",
        "Nothing is wrong, unless the feature should vary: then look at the training data.",
    ),
    "linear-optimum-not-reached": CaveatText(
        "The solver stopped before the duality gap was within the tolerance.",
        "The classifier is not proven to be the best for its loss; the gap says how much better "
        "another could be.",
        "Standardise the features, or allow a larger tolerance.",
    ),
    "linear-separable": CaveatText(
        "A regular classifier gets every training example right.",
        "Many classifiers then have the least loss, and which of them training ends at is "
        "arbitrary; its accuracy under attack is that of this one. With at least as many features "
        "as examples any labels can be separated, so that training accuracy says nothing.",
        "Read the test accuracy, and compare the robust classifiers from the \u03b5 on at which "
        "their loss is above 0.",
    ),
    "linear-training-unfinished": CaveatText(
        "Over 2 % of all that the training loss fell under SGD, it fell in the last tenth of the "
        "epochs; or it did not fall at all; or, where the optimum was computed too, the loss is "
        "more than 10 % above it.",
        "More epochs would give another classifier, more accurate or more robust than the one "
        "shown.",
        "Raise epochs or lr, standardise the features, or use solver = \"optimum\".",
    ),
    "not-converged": CaveatText(
        "Twice the steps broke markedly more inputs than the steps that were used.",
        "The attack was stopped before it had done what it can, so the robust accuracy is "
        "further above the true one than its interval says.",
        "Raise the steps until twice as many change little, or use an attack that adapts its "
        "steps.",
    ),
    "not-monotone": CaveatText(
        "More than 10 % of the inputs that an attack broke at a smaller budget withstood the same "
        "attack with a larger one.",
        "Whatever breaks an input within a small ball lies in every larger ball, so a stronger "
        "attacker cannot do worse: the attack has not converged.",
        "Raise steps or restarts, or lower the step size at large budgets.",
    ),
    "other-loss-stronger": CaveatText(
        "The loss that the attacks did not follow broke markedly more inputs that they had left.",
        "The outputs are of a scale or shape on which the loss that was followed is flat or "
        "misleads, so the robust accuracy is further above the true one than its interval says.",
        "Attack with the other loss (loss = \"margin\"), or with attacks that do not depend on the "
        "scale of outputs: apgd-t, or the preset autoattack.",
    ),
    "probabilities-as-logits": CaveatText(
        "The outputs that the attack's loss is computed from lie in [0, 1] and add up to 1.",
        "A softmax on top of a softmax flattens the gradients where the model is confident, which "
        "makes attacks weak and the model look robust.",
        "Let the network return logits, or declare outputs = \"probabilities\" so that the loss "
        "is computed accordingly.",
    ),
    "probabilities-missing": CaveatText(
        "The model offers labels only.",
        "Calibration, log-loss, Brier score, ranking and uncertainty could not be measured.",
        "Give the model's probabilities where it has any.",
    ),
    "random-output": CaveatText(
        "The same inputs, evaluated twice, gave different outputs.",
        "Each of an attack's many tries was judged by one draw of the model: some succeed by "
        "chance, so that robust accuracy may be understated, while attacks that do not average "
        "over the randomness are weak, so that it may be overstated. It bounds nothing.",
        "Fix the randomness at inference, and attack the fixed model; attacks that average "
        "(autoattack-random) help to find what holds over many draws.",
    ),
    "shapr-sample": CaveatText(
        "Only a part of the training records or of the test points was used.",
        "A score is a share of the accuracy on the test points used, divided among the records "
        "used: with more records each has less, and records left out have no score.",
        "Leave out the sample limits where time allows; the exact computation is quick.",
    ),
    "shapr-tied-outputs": CaveatText(
        "Most training records share their output with another record.",
        "The nearest neighbour is then not unique; the score is the expectation over random "
        "tie-breaking, and records of one class with the same output score alike.",
        "Nothing is wrong: trees and saturated networks behave so. Read the scores as those of "
        "groups.",
    ),
    "small-sample": CaveatText(
        "There are few test examples.",
        "Intervals are wide and rare errors are likely not seen at all.",
        "Use more test data before deciding anything close to a threshold.",
    ),
    "stronger-black-box": CaveatText(
        "An attack that only asks the model broke significantly more inputs than those that "
        "look into it.",
        "Whoever sees the gradients can do all that one without can. When they do worse, the "
        "gradients mislead: masking, a layer without useful derivatives, or a loss that is "
        "flat.",
        "Do not read the result as robustness. Attack without gradients for longer, try the "
        "other loss, or replace the layer by a smooth one in the attack.",
    ),
    "stronger-noise": CaveatText(
        "Random noise broke significantly more inputs than the attacks of the same size.",
        "An attack that is beaten by chance does not work on this model.",
        "Look at step size, steps and loss, and at whether the gradients are of any use.",
    ),
    "success-not-confirmed": CaveatText(
        "An attack claimed a success that the audited model did not confirm on the perturbed "
        "input, put back into the ball and the bounds in float64.",
        "The claim was rejected and does not count. The attack works on something that differs "
        "from the audited model, or loses its success to rounding.",
        "Look at how the loader makes the module that gives gradients; otherwise raise the steps.",
    ),
    "survives-everything": CaveatText(
        "Inputs withstood an attack that could change them into anything within the data's "
        "bounds.",
        "With such a budget every input can be replaced by one of another class, so no more "
        "than guessing would leave should remain. The attack does not find what is certainly "
        "there.",
        "Do not read the robust accuracy as such: the attack fails on this model. Try other "
        "attacks, other losses and black-box attacks.",
    ),
    "weaker-iterative": CaveatText(
        "An iterative attack broke significantly fewer inputs than a single step did.",
        "Many small steps can do all that one large step does. When they do worse, the gradients "
        "mislead or the step size is wrong.",
        "Try other step sizes, more restarts and the other loss before believing the result.",
    ),
    "zero-gradients": CaveatText(
        "More than 1 % of the inputs that the model gets right have a gradient of exactly zero.",
        "An attack that follows gradients cannot move such an input from where it is.",
        "Use random starts, the other loss (loss = \"margin\"), or attacks without gradients.",
    ),
    "zero-probability": CaveatText(
        "The model gave the true class the probability 0 for some inputs.",
        "Their log-loss is infinite; each was counted with a floor instead, so the mean depends on "
        "the floor.",
        "Prefer the Brier score for comparing such models, or smooth the probabilities.",
    ),
}  # fmt: skip


def as_markdown() -> str:
    """Return ``docs/caveats.md``."""
    parts = [
        "# Caveats",
        "A caveat is a reason to trust a measurement less. Its code stands in the report and in "
        "the record; `robreport explain CODE` prints what stands here.",
    ]
    for code, text in sorted(CAVEATS.items()):
        parts += [
            f"## {code}",
            f"**Raised if.** {text.raised_if}",
            f"**Explanation.** {text.explanation}",
            f"**What to do.** {text.what_to_do}",
        ]
    return "\n\n".join(parts) + "\n"

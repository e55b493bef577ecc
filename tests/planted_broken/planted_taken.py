"""A plugin that offers an id that is taken."""

from robreport import Metric, Result, hookimpl


class Taken(Metric):
    id = "privacy.shapr"
    title = "Taken"
    question = "Is the id free?"
    summary = "It is not."

    def compute(self, bundle, params, ctx):
        return Result(answer="Never reached.")


@hookimpl
def register_metrics(register):
    register(Taken)

"""A plugin that misspells a hook."""

from robreport import hookimpl


@hookimpl
def register_metric(register):
    raise AssertionError("never called")

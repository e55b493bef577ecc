"""A plugin that cannot be imported."""

raise RuntimeError("planted at import")

"""The metrics and loaders that come with robreport."""

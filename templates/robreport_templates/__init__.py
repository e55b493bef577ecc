"""Templates, styles, fonts and examples that robreport ships."""

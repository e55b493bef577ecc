"""What the decoded splits hold: sizes, balance, ranges, missing values, rows that stand twice."""

from robreport.survey.equal_rows import row_groups
from robreport.survey.make import compared_pairs, make_cards

__all__ = ["compared_pairs", "make_cards", "row_groups"]

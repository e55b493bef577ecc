"""Drafts of audits: what `robreport init --from` writes after a look at the files."""

from __future__ import annotations

from robreport.drafting.write import Drafted, write_draft

__all__ = ["Drafted", "write_draft"]

"""From a record to documents: composition, charts, HTML and PDF."""

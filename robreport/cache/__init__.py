"""What has been measured, decoded or fitted before, found again by the digest of what made it.

    cache = Cache(default_root())
    key = digest(model_digest, {"steps": 40}, seed)
    folder = cache.get("outcomes", key)
    if folder is None:
        with cache.put("outcomes", key, metric="attacks.suite") as folder:
            ...  # write files into folder

A cache never fails an audit: what cannot be read is a miss, and one that cannot be written turns
itself off, saying so once.
"""

from __future__ import annotations

from robreport.cache.digests import digest, digest_array, digest_file, distribution_digest
from robreport.cache.entries import KINDS
from robreport.cache.folder import Cache, Info
from robreport.cache.root import default_root

__all__ = [
    "KINDS", "Cache", "Info", "default_root", "digest", "digest_array", "digest_file",
    "distribution_digest",
]  # fmt: skip

"""Headers whose secrets come from the environment, and are kept out of every sentence."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from urllib.parse import quote

from robreport import ModelError

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_FROM_ENVIRONMENT = re.compile(r"(?:([A-Za-z0-9_-]{1,40}) )?env:([A-Za-z_][A-Za-z0-9_]*)")
_SECRET = re.compile(r"auth|token|secret|key|pass|cookie|credential|session|signature", re.I)
# What the client itself says of the body and the connection.
_OURS = frozenset({
    "accept", "accept-encoding", "connection", "content-encoding", "content-length",
    "content-type", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuse headers that cannot be sent, or that would put a secret into the audit file.

    Raises
    ------
    ValueError
        One sentence, which never holds a value.
    """
    seen: set[str] = set()
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"headers has the name {name[:60]!r}, which no header can have")
        if name.lower() in _OURS:
            raise ValueError(f"headers must not set {name}, which the loader sets itself")
        if name.lower() in seen:
            raise ValueError(f"headers has {name} twice")
        seen.add(name.lower())
        if _FROM_ENVIRONMENT.fullmatch(value):
            continue
        if "env:" in value or _SECRET.search(name):
            raise ValueError(
                f"headers.{name} must come from the environment, as 'env:VARIABLE' or "
                "'Bearer env:VARIABLE': what stands in the audit file is recorded"
            )
        if not value.isascii() or not value.isprintable():
            raise ValueError(f"headers.{name} has a value with characters that no header can hold")


def variables(headers: Mapping[str, str]) -> dict[str, str]:
    """Return, by header, the environment variables that secrets are taken from."""
    found = {name: _FROM_ENVIRONMENT.fullmatch(value) for name, value in headers.items()}
    return {name: match.group(2) for name, match in found.items() if match is not None}


def filled(headers: Mapping[str, str], where: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the headers as they are sent, and the secrets in them.

    Raises
    ------
    ModelError
        A variable is not set, empty, or holds what no header can.
    """
    ready: dict[str, str] = {}
    secrets: list[str] = []
    for name, value in headers.items():
        match = _FROM_ENVIRONMENT.fullmatch(value)
        if match is None:
            ready[name] = value
            continue
        scheme, variable = match.groups()
        secret = os.environ.get(variable, "").strip()
        if not secret:
            raise ModelError(
                f"{where}: the header {name} needs the environment variable {variable}, which is "
                "not set or empty."
            )
        if not secret.isascii() or not secret.isprintable():
            raise ModelError(
                f"{where}: the environment variable {variable} holds line breaks or characters "
                "that no header can."
            )
        ready[name] = f"{scheme} {secret}" if scheme else secret
        secrets.append(secret)
    return ready, tuple(secrets)


class Mask:
    """Replaces secrets in a text by ``***``, in every form that a service may echo them in."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        forms: set[str] = set()
        for secret in secrets:
            # A scheme may be part of the variable: "Bearer abc" must hide "abc" as well.
            for part in {secret, secret.split()[-1]}:
                packed = base64.b64encode(part.encode()).decode()
                forms |= {part, json.dumps(part)[1:-1], repr(part)[1:-1], quote(part), packed,
                          quote(part, safe="")}  # fmt: skip
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._forms = _any_of(longest_first)
        # Short ones, and those that look like numbers, may be a part of what is meant.
        self._telling = _any_of(
            [f for f in longest_first if len(f) >= 8 and not re.fullmatch(r"[0-9.eE+-]+", f)]
        )

    def __call__(self, text: str) -> str:
        """Return a sentence without secrets."""
        return text if self._forms is None else self._forms.sub("***", text)

    def scrubbed(self, body: bytes) -> bytes:
        """Return an answer without secrets, so that none is cut in two when it is quoted."""
        if self._telling is None:
            return body
        text = body.decode("utf-8", "surrogateescape")
        found = self._telling.sub("***", text)
        return body if found == text else found.encode("utf-8", "surrogateescape")


def _any_of(texts: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(re.escape, texts))) if texts else None

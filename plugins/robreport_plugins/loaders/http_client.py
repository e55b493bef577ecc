"""Ask a service that speaks JSON, with patience: pace, retries, and refusals in one sentence."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from robreport import ModelError
from robreport_plugins.loaders.http_connection import Broken, Connection, Reply, Useless
from robreport_plugins.loaders.http_pace import Clock, Pace
from robreport_plugins.loaders.http_secrets import Mask

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_FIRST_WAIT = 0.5
_SHOWN = 160
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Client:
    """Posts JSON and returns JSON; counts what it asks.

    Attributes
    ----------
    requests, retries : int
        Requests sent, and how many of them were another try.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        headers: Mapping[str, str],
        where: str,
        mask: Mask,
        pace: Pace | None,
        retries: int,
        longest_wait: float,
        first_contact: float,
        clock: Clock,
    ) -> None:
        self.requests = 0
        self.retries = 0
        self._connection = connection
        self._headers = {
            **headers, "Content-Type": "application/json", "Accept": "application/json",
            "Accept-Encoding": "identity", "User-Agent": "robreport",
        }  # fmt: skip
        self._where = where
        self._mask = mask
        self._pace = pace
        self._most = retries
        self._longest = longest_wait
        self._contact: float | None = first_contact
        self._clock = clock
        self._log = logging.getLogger("robreport.http")

    def met(self) -> None:
        """Be as patient from now on as while measuring: the service has answered."""
        self._contact = None

    def ask(self, question: Any) -> Any:
        """Return the service's answer.

        Raises
        ------
        ModelError
            It cannot be reached, refuses, or answers no JSON.
        """
        try:
            body = json.dumps(question, allow_nan=False, separators=(",", ":")).encode()
        except ValueError:
            raise ModelError(
                f"{self._where}: an input is infinite, which JSON cannot say."
            ) from None
        return self._parsed(self._patiently(body))

    def _patiently(self, body: bytes) -> Reply:
        """Return a successful reply, after as many tries as are allowed.

        At the first contact, the tries of one question together wait for the server no longer than
        agreed; what a server asks to wait for between two of them does not count.
        """
        left = self._contact
        for tried in range(self._most + 1):
            if self._pace is not None:
                self._pace.wait()
            self.requests += 1
            self.retries += tried > 0
            wait: float | None = None
            began = self._clock.now()
            try:
                reply = self._connection.post(body, self._headers, left)
            except Useless as error:
                raise self._refused(str(error)) from None
            except Broken as error:
                said = str(error)
            else:
                if reply.status == 200:
                    return reply
                said = self._status(reply)
                if reply.status not in _AGAIN:
                    raise self._refused(said)
                wait = self._asked_to_wait(reply)
            if left is not None:
                left -= self._clock.now() - began
                if left <= 0:
                    raise self._refused(
                        f"{said} (given up while the model is loaded: first_contact = "
                        f"{self._contact:g})"
                    )
            if tried == self._most:
                break
            if wait is None:
                wait = min(_FIRST_WAIT * 2.0**tried, self._longest)
            elif wait > self._longest:
                raise self._refused(
                    f"{said} and asks to wait {wait:,.0f} s, more than "
                    f"longest_wait = {self._longest:g}"
                )
            # The log of a measurement shows warnings, and is read when one took long.
            self._log.warning("%s: %s; trying again in %g s", self._where, self._mask(said), wait)
            self._clock.sleep(wait)
        tries = self._most + 1
        raise self._refused(f"{said} ({tries} {'try' if tries == 1 else 'tries'})")

    def _refused(self, said: str) -> ModelError:
        return ModelError(self._mask(f"{self._where}: the service {said}."))

    def _status(self, reply: Reply) -> str:
        if reply.status in _REDIRECTS:
            to = _plain(self._mask(reply.headers.get("location", "nowhere")))
            return (
                f"redirects to {to} (HTTP {reply.status}); redirects are not followed, so declare "
                "the address that answers as url"
            )
        text = _plain(self._mask(reply.body[: 1 << 16].decode("utf-8", "replace")))
        html = text.lstrip().startswith("<")
        said = f": {text.rstrip('.')}" if text and not html else ""
        return f"answers HTTP {reply.status}{said}"

    def _asked_to_wait(self, reply: Reply) -> float | None:
        """Return the seconds of a Retry-After header, or None."""
        text = reply.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return float(text[:9])
        try:
            wait = parsedate_to_datetime(text).timestamp() - self._clock.wall()
        except (TypeError, ValueError, OverflowError, IndexError):
            return None
        return wait if 0 <= wait < math.inf else None

    def _parsed(self, reply: Reply) -> Any:
        kind = _plain(self._mask(reply.headers.get("content-type", ""))).partition(";")[0]
        try:
            return json.loads(self._mask.scrubbed(reply.body), parse_constant=_no_constant)
        except _Constant as constant:
            raise self._refused(f"answers {constant}, which is no number in JSON") from None
        except (ValueError, RecursionError) as error:
            what = kind if kind and "json" not in kind else "something"
            at = f" (it breaks off or goes wrong at character {error.pos:,})" if isinstance(
                error, json.JSONDecodeError) else ""  # fmt: skip
            raise self._refused(f"answers {what} that is no JSON{at}") from None


class _Constant(Exception):
    """NaN or an infinity, which Python's reader would let pass."""


def _no_constant(text: str) -> Any:
    raise _Constant(text)


def _plain(text: str) -> str:
    """Return a server's text on one line, without control characters, shortened."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 1 << 16]).split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3].rstrip()}..."

"""One request to one server, with a limit on its time and on the size of the answer."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import weakref
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from robreport import ModelError
from robreport_plugins.loaders.wording import one_line

_CHUNK = 1 << 16
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a service is: a checked http or https address."""

    secure: bool
    host: str
    port: int
    target: str

    @property
    def netloc(self) -> str:
        """Host and port, as sentences name the service."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether it is this very machine."""
        return self.host in _LOCAL


def parse_address(url: str) -> Address:
    """Return the parts of an address.

    Raises
    ------
    ValueError
        It is no http or https address, or holds what it must not.
    """
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("url holds spaces or characters that must be percent-encoded")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"url is no address ({error})") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "url holds a user name or password, and it is recorded; give it as "
            "headers = { Authorization = 'Basic env:VARIABLE' }"
        )
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"url must begin with http:// or https://, found {url[:80]!r}")
    if not parts.hostname:
        raise ValueError(f"url names no host: {url[:80]!r}")
    if port == 0:
        raise ValueError("url names the port 0, which no server has")
    if parts.fragment:
        raise ValueError("url has a fragment (#...), which no server is sent")
    try:
        parts.hostname.encode("idna")
    except UnicodeError:
        raise ValueError(f"url names no host that can be: {parts.hostname[:80]!r}") from None
    secure = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(
        secure=secure, host=parts.hostname, port=port or (443 if secure else 80), target=target
    )


def tls_context(ca: Path | None, where: str) -> ssl.SSLContext:
    """Return how servers prove who they are: the system's authorities, or those of one file.

    Raises
    ------
    ModelError
        The file holds no certificates.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        name = "" if ca is None else f" {ca.name}"
        raise ModelError(
            f"{where}: the certificates of ca{name} cannot be read "
            f"({getattr(error, 'strerror', None) or one_line(error)}); a PEM file is needed."
        ) from None
    context.set_alpn_protocols(["http/1.1"])
    return context


class Broken(Exception):
    """A request came to no answer; another try may."""


class Closed(Broken):
    """The server closed the connection before it answered."""


class Useless(Exception):
    """A request came to no answer, and no other will."""


class Reply(NamedTuple):
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Secure(http.client.HTTPSConnection):
    """Shakes hands after its socket is in place, so that a deadline can end that, too."""

    def __init__(self, host: str, port: int, timeout: float, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._tls = context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        secure = self._tls.wrap_socket(
            self.sock, server_hostname=self.host, do_handshake_on_connect=False
        )
        self.sock = secure
        secure.do_handshake()


class _Deadline:
    """Ends a connection's reading and writing after so many seconds, however it drips."""

    def __init__(self, connection: http.client.HTTPConnection, seconds: float) -> None:
        self.passed = False
        self._connection = connection
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self.passed = True
        sock = self._connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                # Not a TLS socket's own shutdown, which may not be called while it reads.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Kept:
    """Holds the connection that is open between two requests, if one is."""

    def __init__(self) -> None:
        self.connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Connection:
    """Sends JSON to one address, over a connection that is kept open between requests."""

    def __init__(
        self, address: Address, *, timeout: float, limit: int, context: ssl.SSLContext | None
    ) -> None:
        self._address = address
        self._timeout = timeout
        self._limit = limit
        self._context = context
        self._kept = _Kept()
        # Whatever becomes of this object, its socket is closed and not just dropped.
        self._finalizer = weakref.finalize(self, self._kept.close)

    def post(self, body: bytes, headers: Mapping[str, str], most: float | None = None) -> Reply:
        """Return the answer to one request. Nothing is followed: a redirect is an answer.

        `most` shortens the time that is waited for it.

        Raises
        ------
        Broken, Useless
            There was none, for the reason that it says.
        """
        kept = self._kept.connection is not None
        seconds = self._timeout if most is None else min(most, self._timeout)
        try:
            return self._post(body, headers, seconds)
        except Closed:
            if not kept:
                raise
        # A server may close a connection that was idle; that is no failure of the service.
        return self._post(body, headers, seconds)

    def _post(self, body: bytes, headers: Mapping[str, str], seconds: float) -> Reply:
        connection = self._kept.connection or self._made(seconds)
        self._kept.connection = None
        # one that was kept may have been given another time
        connection.timeout = seconds
        if connection.sock is not None:
            connection.sock.settimeout(seconds)
        with _Deadline(connection, seconds) as deadline:
            try:
                reply, keep = self._exchange(connection, body, headers, deadline)
            except BaseException as error:
                connection.close()
                if not isinstance(error, Exception):
                    raise
                if deadline.passed or isinstance(error, TimeoutError):
                    raise Broken(f"did not answer within {seconds:.3g} s") from None
                raise _told(error) from None
        if keep and not deadline.passed:
            self._kept.connection = connection
        else:
            connection.close()
        return reply

    def _made(self, seconds: float) -> http.client.HTTPConnection:
        where = self._address
        if self._context is None:
            return http.client.HTTPConnection(where.host, where.port, timeout=seconds)
        return _Secure(where.host, where.port, seconds, self._context)

    def _exchange(
        self, connection: http.client.HTTPConnection, body: bytes, headers: Mapping[str, str],
        deadline: _Deadline,
    ) -> tuple[Reply, bool]:  # fmt: skip
        if connection.sock is None:
            connection.connect()
        if deadline.passed:
            raise TimeoutError
        # A server that refuses a request early answers, and then closes what is still written to.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request("POST", self._address.target, body=body, headers=dict(headers))
        with contextlib.closing(connection.getresponse()) as response:
            found = {name.lower(): value for name, value in response.getheaders()}
            data = self._read(response, found)
        if deadline.passed:
            raise TimeoutError
        return Reply(response.status, found, data), not response.will_close

    def _read(self, response: http.client.HTTPResponse, headers: Mapping[str, str]) -> bytes:
        """Return the body, unpacked, never more than the limit of it."""
        coding = headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("identity", "gzip", ""):
            raise Useless("answers in a packing that was not asked for")
        unpack = zlib.decompressobj(wbits=31) if coding == "gzip" else None
        if unpack is None and (response.length or 0) > self._limit:
            raise Useless(self._too_much())
        data = bytearray()
        read = 0
        while chunk := response.read(min(_CHUNK, self._limit + 1 - read)):
            read += len(chunk)
            if unpack is not None:
                chunk = unpack.decompress(chunk, self._limit + 1 - len(data))
            data += chunk
            if len(data) > self._limit or read > self._limit:
                raise Useless(self._too_much())
        # Only up to the limit is read, but a body that ends early must not pass for a whole one.
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        if unpack is not None and not unpack.eof:
            raise Useless("answers with a damaged gzip body")
        return bytes(data)

    def _too_much(self) -> str:
        return f"answers more than {self._limit:,} bytes"


def _told(error: Exception) -> Exception:
    """Return what went wrong in words, and whether another try may help."""
    if isinstance(error, Useless | Broken):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        return Useless(
            f"shows a certificate that is not trusted ({error.verify_message.rstrip('.')}); "
            "declare ca = 'FILE.pem' if its authority is your own"
        )
    if isinstance(error, ssl.SSLError):
        return Useless(f"does not speak TLS as it should ({error.reason or one_line(error)})")
    if isinstance(error, socket.gaierror):
        return Broken("has a name that cannot be looked up")
    if isinstance(error, ConnectionRefusedError):
        return Broken("refuses the connection")
    if isinstance(error, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError):
        return Closed("closed the connection without an answer")
    if isinstance(error, http.client.IncompleteRead):
        return Broken("closed the connection in the middle of its answer")
    if isinstance(error, http.client.HTTPException | zlib.error | ValueError):
        # Their messages quote what the server sent.
        return Useless(f"does not answer in HTTP as it should ({type(error).__name__})")
    if isinstance(error, OSError):
        return Broken(f"cannot be reached ({error.strerror or type(error).__name__})")
    return Useless(f"cannot be asked ({type(error).__name__})")

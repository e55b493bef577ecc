"""A service as a model: a black box that never quotes a secret, and counts what it asks."""

from __future__ import annotations

from typing import Any

from robreport import ModelError
from robreport_plugins.loaders.black_box import Array, BlackBoxHandle
from robreport_plugins.loaders.http_client import Client
from robreport_plugins.loaders.http_secrets import Mask


class ServiceHandle(BlackBoxHandle):
    """Predictions of a service; answers that it gave before are not asked for again."""

    def __init__(self, client: Client, mask: Mask, **more: Any) -> None:
        self._client = client
        self._mask = mask
        super().__init__(**more)

    @property
    def requests(self) -> int:
        """Requests sent so far, further tries included."""
        return self._client.requests

    def _rows(self, x: Array) -> Array:
        try:
            return super()._rows(x)
        except ModelError as error:
            raise ModelError(self._mask(str(error))) from None

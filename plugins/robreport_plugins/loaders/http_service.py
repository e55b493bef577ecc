"""The ``http`` loader: a model behind a service that answers JSON."""

from __future__ import annotations

import hashlib
import json
import ssl
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from robreport import ModelError, ModelHandle, ModelSource, Params
from robreport_plugins.loaders.black_box_options import BlackBoxOptions
from robreport_plugins.loaders.http_connection import Address, parse_address, tls_context
from robreport_plugins.loaders.http_pace import Clock
from robreport_plugins.loaders.http_protocols import Protocol
from robreport_plugins.loaders.http_secrets import Mask, check_headers, filled, variables

if TYPE_CHECKING:
    from robreport_plugins.loaders.black_box import Array
    from robreport_plugins.loaders.http_client import Client
    from robreport_plugins.loaders.http_protocols import JsonProtocol

EXAMPLES = 32
"""Rows of the data whose answers tell whether a service is still the same."""


class HttpOptions(BlackBoxOptions):
    """Keys of a ``loader = "http"`` model, beside name and version."""

    url: str = Field(
        min_length=8, max_length=2000, description="Address that inputs are posted to; recorded."
    )
    protocol: Protocol = Field(
        description="Form of requests and answers: kserve-v1 (also TensorFlow Serving), kserve-v2 "
        "(also Triton), mlflow, or plain."
    )
    input_field: str | None = Field(
        None,
        max_length=200,
        description="Member of the request that holds the inputs (name of the tensor for "
        "kserve-v2); for plain, an empty text sends the bare list.",
    )
    output_field: str | None = Field(
        None,
        max_length=200,
        description="Dotted path to the predictions in the answer, such as 'result.scores' (name "
        "of the tensor for kserve-v2); a name is looked up in every item of a list.",
    )
    request: dict[str, Any] = Field(
        default_factory=dict, description="Further members of each request, sent as they are."
    )
    headers: dict[str, str] = Field(
        default_factory=dict,
        max_length=50,
        description="Further headers; secrets as 'env:VARIABLE' or 'Bearer env:VARIABLE'.",
    )
    timeout: Annotated[float, Field(gt=0, le=3600)] = Field(
        10.0, description="Seconds for one request, from connecting to the last byte."
    )
    first_contact: Annotated[float, Field(gt=0, le=3600)] | None = Field(
        None,
        description="Seconds that the tries of a request together may wait for an answer while "
        "the model is loaded, so that a service that is not there is found out soon; timeout when "
        "left out.",
    )
    retries: Annotated[int, Field(strict=True, ge=0, le=20)] = Field(
        3, description="Further tries after a busy or failing answer, or none."
    )
    longest_wait: Annotated[float, Field(gt=0, le=3600)] = Field(
        60.0,
        description="Most seconds between two tries; a service that asks for more is given up.",
    )
    rate: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        None, description="Most requests per second, of all measurements together."
    )
    response_limit: Annotated[int, Field(strict=True, ge=1024, le=2**30)] = Field(
        16 * 2**20, description="Most bytes of one answer."
    )
    ca: str | None = Field(
        None,
        min_length=1,
        description="PEM file of the authorities that prove who the server is, relative to the "
        "audit file; the system's when left out.",
    )
    unencrypted: bool = Field(
        False, description="Allows headers from the environment to be sent over plain http."
    )

    @field_validator("url")
    @classmethod
    def _url_is_usable(cls, value: str) -> str:
        parse_address(value)
        return value

    @field_validator("headers")
    @classmethod
    def _headers_are_safe(cls, value: dict[str, str]) -> dict[str, str]:
        check_headers(value)
        return value

    @model_validator(mode="after")
    def _http_is_consistent(self) -> HttpOptions:
        address = parse_address(self.url)
        secrets = variables(self.headers)
        if secrets and not (address.secure or address.local or self.unencrypted):
            raise ValueError(
                f"headers would send {next(iter(secrets.values()))} over plain http, where anybody "
                "on the way can read it; use https, or say unencrypted = true"
            )
        if self.ca is not None and not address.secure:
            raise ValueError("ca is for https, and url is plain http")
        if self.input_field == "" and (self.protocol != "plain" or self.request):
            raise ValueError(
                "input_field = '' sends the bare list, which is for protocol = 'plain' without "
                "further members of request"
            )
        clash = {"inputs"} if self.protocol == "kserve-v2" else {self.input_field}
        if clash & set(self.request):
            raise ValueError(f"request has {sorted(map(str, clash))[0]!r}, which holds the inputs")
        try:
            json.dumps(self.request, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError("request holds something that JSON cannot say") from None
        return self


class HttpLoader:
    """Loads a model that answers over HTTP as a black box."""

    Options: ClassVar[type[Params]] = HttpOptions
    summary: ClassVar[str] = "Model behind an HTTP service that answers JSON: predictions only"
    changes: ClassVar[bool] = True

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()

    def load(self, source: ModelSource) -> ModelHandle:
        """Return the service as a model that predicts; no gradients, no parameters.

        Raises
        ------
        ModelError
            It cannot be reached, or what it answers is no prediction; one sentence says why.
        """
        from robreport_plugins.loaders.black_box import AnswerMemory
        from robreport_plugins.loaders.http_handle import ServiceHandle
        from robreport_plugins.loaders.http_protocols import JsonProtocol
        from robreport_plugins.loaders.input_form import input_form

        options: HttpOptions = source.options
        address = parse_address(options.url)
        where = f"model {source.name!r} ({address.netloc})"
        if source.path is not None:
            raise ModelError(f"{where}: is found by its url; leave path out.")
        headers, secrets = filled(options.headers, where)
        mask = Mask(secrets)
        client = self._client(options, address, source.base, headers, mask, where)
        form = input_form(options, source.schema, where)
        protocol = JsonProtocol(
            options.protocol,
            form,
            frame=options.frame,
            input_field=options.input_field,
            output_field=options.output_field,
            request=options.request,
            where=where,
        )
        examples = None if source.examples is None else source.examples[:EXAMPLES]
        try:
            handle = ServiceHandle(
                client,
                mask,
                name=source.name,
                kind=f"HTTP service at {address.netloc} ({options.protocol}, black box)",
                ask=partial(_ask, client, protocol),
                options=options,
                form=form,
                schema=source.schema,
                examples=examples,
                memory=AnswerMemory(),
            )
            answers = None if examples is None else handle.answers_digest(examples)
        except ModelError as error:
            raise ModelError(mask(str(error))) from None
        client.met()
        handle.facts = {
            "address": options.url,
            "protocol": options.protocol,
            "transport": "TLS" if address.secure else "unencrypted",
            **handle.facts,
            **{f"header {name}": f"from the environment variable {variable}"
               for name, variable in sorted(variables(options.headers).items())},
            **({"answers SHA-256": answers} if answers else {}),
        }  # fmt: skip
        if handle.repeatable and answers:
            told = json.dumps(options.model_dump(mode="json"), sort_keys=True)
            handle.digest = hashlib.sha256(f"{told}\n{answers}".encode()).hexdigest()
        return handle

    def _client(
        self, options: HttpOptions, address: Address, base: Path, headers: dict[str, str],
        mask: Mask, where: str,
    ) -> Client:  # fmt: skip
        from robreport_plugins.loaders.http_client import Client
        from robreport_plugins.loaders.http_connection import Connection
        from robreport_plugins.loaders.http_pace import Pace, pace_file

        context: ssl.SSLContext | None = None
        if address.secure:
            context = tls_context(None if options.ca is None else base / options.ca, where)
        pace = None
        if options.rate is not None:
            pace = Pace(options.rate, pace_file(address.netloc), self._clock)
        return Client(
            Connection(
                address, timeout=options.timeout, limit=options.response_limit, context=context
            ),
            headers=headers,
            where=where,
            mask=mask,
            pace=pace,
            retries=options.retries,
            longest_wait=options.longest_wait,
            first_contact=options.first_contact or options.timeout,
            clock=self._clock,
        )


def _ask(client: Client, protocol: JsonProtocol, x: Array) -> Any:
    """Return the predictions in the service's answer to a batch."""
    return protocol.predictions(client.ask(protocol.question(x)))

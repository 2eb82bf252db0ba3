"""Answers an app's requests: PUT registers it, GET describes it, POST calls a function or delivers a webhook.

Signatures are checked over the received bytes, before the body is parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, cast
from urllib.parse import urlencode

from pydantic_core import from_json, to_json

from milepost._declare.function import AnyFunction
from milepost._values.failure import Failure
from milepost._values.web import json_response
from milepost.errors import RequestError, SendError, SignatureError
from milepost.protocol import Header, Request, Response, sign, verify

from .manifest import in_band, inspection, registration
from .settings import AppSettings

if TYPE_CHECKING:
    from milepost._replay.execute import Checkpointer, RunStateStore
    from milepost._replay.rehearsal import Rehearsal
    from milepost._send.sender import EventSender

    from .webhooks import Webhook

__all__ = ["Endpoint"]


class Endpoint:
    """Answers the requests to one app."""

    def __init__(
        self,
        settings: AppSettings,
        functions: Mapping[str, AnyFunction],
        webhooks: Mapping[str, Webhook],
        sender: EventSender,
    ) -> None:
        self._settings = settings
        self._functions = functions
        self._webhooks = webhooks
        self._sender = sender

    async def handle(
        self,
        request: Request,
        checkpointer: Checkpointer | None,
        state_store: RunStateStore | None,
        budget: timedelta | None,
        rehearsal: Rehearsal | None,
        *,
        authenticated: bool,
    ) -> Response:
        """Answer one request; every error becomes a response."""
        try:
            response = await self._route(
                request, checkpointer, state_store, budget, rehearsal, authenticated=authenticated
            )
        except RequestError as error:
            response = _refusal(error)
        except Exception as error:  # noqa: BLE001 - the server must see a 500, and retry
            self._settings.logger().exception("milepost: a request could not be served")
            response = json_response(500, Failure.of(error).to_wire())
        return self._sign(response)

    async def _route(
        self,
        request: Request,
        checkpointer: Checkpointer | None,
        state_store: RunStateStore | None,
        budget: timedelta | None,
        rehearsal: Rehearsal | None,
        *,
        authenticated: bool,
    ) -> Response:
        match request.method.upper():
            case "POST" if request.query.get("probe") == "trust":
                self._check_caller(request, authenticated=authenticated)
                return json_response(200, b"")
            case "POST" if "webhook" in request.query:
                # Signed by its sender with another secret, which the webhook checks.
                return await self._receive(request)
            case "POST":
                if rehearsal is None:  # a test harness calls within the process, on a clock of its own
                    self._check_caller(request, authenticated=authenticated)
                return await self._serve_call(request, checkpointer, state_store, budget, rehearsal)
            case "PUT":
                self._check_caller(request, authenticated=authenticated)
                return await self._sync(request)
            case "GET":
                body = inspection(self._settings, len(self._functions), signed=self._is_signed(request))
                return json_response(200, body)
            case method:
                raise RequestError(
                    f"{method} is not served: use GET, PUT or POST", status=405, code="method_not_allowed"
                )

    # --- signatures ---------------------------------------------------------------------------------------------------

    def _keys(self) -> list[str]:
        return [key for key in (self._settings.signing_key, self._settings.fallback_key) if key]

    def _is_signed(self, request: Request) -> bool:
        header = request.headers.get(Header.SIGNATURE.value, "")
        now = self._settings.now()
        return bool(header) and any(verify(key, request.body, header, now) for key in self._keys())

    def _check_caller(self, request: Request, *, authenticated: bool) -> None:
        """Every way to serve the app comes here. Refuses whoever is not known to be the app's server."""
        unguarded = self._settings.unguarded
        if unguarded and not authenticated:
            raise RequestError(unguarded, status=500, code="signing_key_missing")
        if not self._settings.verifies or self._is_signed(request):
            return
        if Header.SIGNATURE.value not in request.headers:
            raise SignatureError(
                f"the request has no {Header.SIGNATURE.value} header: set the app's signing key on the server, "
                "or set MILEPOST_DEV=1 for local development"
            )
        raise SignatureError(
            f"the {Header.SIGNATURE.value} header is not valid: the signing keys differ, the clocks differ by more "
            "than five minutes, or a proxy between the server and the app changed the body"
        )

    def _sign(self, response: Response) -> Response:
        if not self._settings.verifies or not self._settings.signing_key:
            return response
        signature = sign(self._settings.signing_key, response.body, self._settings.now())
        return Response(response.status, {**response.headers, Header.SIGNATURE.value: signature}, response.body)

    async def _receive(self, request: Request) -> Response:
        name = request.query["webhook"]
        webhook = self._webhooks.get(name)
        if webhook is None:
            raise RequestError(
                f"app {self._settings.app_id!r} has no webhook {name!r}: register the app again",
                status=404, code="webhook_not_found",
            )  # fmt: skip
        return await webhook.receive(request, self._settings)

    # --- registration -------------------------------------------------------------------------------------------------

    async def _sync(self, request: Request) -> Response:
        kind = request.headers.get(Header.SYNC_KIND.value)
        url = _serve_url(request)
        if kind == "in_band":
            body = in_band(self._settings, self._functions.values(), url, self._webhooks)
            return json_response(200, body, {Header.SYNC_KIND.value: "in_band"})
        api = self._settings.api
        if api is None:
            raise RequestError(
                "the app does not know where to register: set MILEPOST_API_URL, or MILEPOST_DEV=1 for the dev server",
                status=500, code="registration_failed",
            )  # fmt: skip
        headers = {Header.SYNC_KIND.value: "out_of_band", Header.FRAMEWORK.value: "milepost"}
        if server_kind := request.headers.get(Header.SERVER_KIND.value):
            headers[Header.EXPECTED_SERVER_KIND.value] = server_kind
        path = "/fn/register"
        if deploy_id := request.query.get("deployId"):
            path += f"?{urlencode({'deployId': deploy_id})}"
        body = registration(self._settings, self._functions.values(), url, self._webhooks)
        import asyncio  # noqa: PLC0415 - takes 30 ms, needed only here

        try:
            reply = await asyncio.to_thread(api.request, "POST", path, to_json(body), headers)
        except SendError as error:
            raise RequestError(str(error), status=500, code="registration_failed") from error
        return json_response(reply.status, reply.body, {Header.SYNC_KIND.value: "out_of_band"})

    # --- calls --------------------------------------------------------------------------------------------------------

    async def _serve_call(
        self,
        request: Request,
        checkpointer: Checkpointer | None,
        state_store: RunStateStore | None,
        budget: timedelta | None,
        rehearsal: Rehearsal | None,
    ) -> Response:
        from .call_handler import CallHandler  # noqa: PLC0415 - loads event loops and threads, needed only for calls

        function_id = request.query.get("fnId", "")
        function = self._functions.get(function_id) or self._functions.get(f"{self._settings.app_id}-{function_id}")
        if function is None:
            raise RequestError(
                f"app {self._settings.app_id!r} has no function {function_id!r}: "
                "register the app again, or deploy the code that defines it",
                status=404, code="function_not_found",
            )  # fmt: skip
        handler = CallHandler(self._settings, self._sender)
        budget = self._settings.budget if budget is None else budget
        return await handler.serve(function, request, checkpointer, state_store, budget, rehearsal)


def _serve_url(request: Request) -> str:
    """The app's address: the one in the sync request's body, else the one that the request was sent to."""
    if request.body.strip():
        try:
            body = from_json(request.body)
        except ValueError:
            raise RequestError('the body of the sync request is not JSON: send {"url": …} or nothing') from None
        if isinstance(body, Mapping):
            url = cast("Mapping[str, object]", body).get("url")
            if isinstance(url, str) and url:
                return url
    return request.url


def _refusal(error: RequestError) -> Response:
    return json_response(
        error.status, {"name": type(error).__name__, "message": str(error), "stack": "", "code": error.reason}
    )

"""The port for Kubernetes, Prometheus and people who look into the gateway."""

from itertools import islice

from aiohttp import web

from tierline_gateway.front.explanation import explanation
from tierline_gateway.front.exposition import exposition
from tierline_gateway.keys import HEADER_AUTHORIZATION, bearer_token
from tierline_gateway.service import GatewayService
from tierline_gateway.streams.request_log import details, summary, without_content

_TRACE_LINES = 500
"""So many lines of a trace are written at once, between which streams get their turn."""


class AdminEndpoints:
    """Probes, metrics and what is known of requests."""

    def __init__(self, service: GatewayService) -> None:
        self._service = service

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/livez", self.livez)
        app.router.add_get("/readyz", self.readyz)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/debug/requests", self.requests)
        app.router.add_get("/debug/requests/{request_id}", self.request)
        app.router.add_get("/debug/explain/{request_id}", self.explain)
        app.router.add_get("/debug/trace", self.trace)
        return app

    async def livez(self, _: web.Request) -> web.Response:
        stalled = self._service.stalled
        return web.Response(status=503 if stalled else 200, text="stalled" if stalled else "ok")

    async def readyz(self, _: web.Request) -> web.Response:
        problem = self._service.not_ready()
        remark = self._service.remark()
        fine = f"ok; {remark}" if remark else "ok"
        return web.Response(status=503 if problem else 200, text=problem or fine)

    async def metrics(self, _: web.Request) -> web.Response:
        body = exposition(self._service.fleets_by_model())
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def requests(self, _: web.Request) -> web.Response:
        return web.json_response([summary(live) for live in self._service.live])

    async def request(self, request: web.Request) -> web.Response:
        request_id = request.match_info["request_id"]
        live = self._service.find(request_id)
        found = details(live) if live is not None else self._service.requests.get(request_id)
        if found is None:
            return _unknown(request_id)
        return web.json_response(found if self._may_read(request, found["tenant"]) else without_content(found))

    async def explain(self, request: web.Request) -> web.Response:
        """Why a request waited, was refused, or ran where it did. It holds no content, so it needs no key."""
        request_id = request.match_info["request_id"]
        live = self._service.find(request_id)
        found = details(live) if live is not None else self._service.requests.get(request_id)
        fleet = self._service.fleets.find(found["fleet"]) if found is not None else None
        if found is None or fleet is None:
            return _unknown(request_id)
        decisions = live.decisions if live is not None else fleet.dispatcher.explained.get(request_id)
        if decisions is None:
            return _unknown(request_id)
        return web.json_response(explanation(found, decisions, fleet.dispatcher.explained.starts))

    async def trace(self, request: web.Request) -> web.StreamResponse:
        """The last requests, a JSON object a line; `?since=` epoch seconds leaves out what arrived before."""
        try:
            since_s = float(request.query.get("since", 0))
        except ValueError:
            return web.json_response({"error": "'since' is no number; send epoch seconds"}, status=400)
        response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
        await response.prepare(request)
        lines = self._service.trace.lines(since_s)
        while some := b"".join(islice(lines, _TRACE_LINES)):
            await response.write(some)
        await response.write_eof()
        return response

    def _may_read(self, request: web.Request, tenant: str) -> bool:
        """What was generated is shown only to who has a key of the tenant; this port asks nobody else who they are."""
        key, snapshot = bearer_token(request.headers.get(HEADER_AUTHORIZATION)), self._service.policy_source.current
        return key is not None and snapshot is not None and snapshot.keys.tenant_of(key) == tenant


def _unknown(request_id: str) -> web.Response:
    return web.json_response({"error": f"request {request_id} is unknown or long done"}, status=404)

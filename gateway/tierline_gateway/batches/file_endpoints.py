"""`/v1/files`, as OpenAI's SDKs call it: files for batches, and what became of them."""

import msgspec
from aiohttp import web

from tierline_gateway.batches.batches import Batches
from tierline_gateway.batches.pages import page_of
from tierline_gateway.batches.stored_file import StoredFile
from tierline_gateway.batches.uploads import Uploads
from tierline_gateway.front.api_errors import ApiError, invalid
from tierline_gateway.front.identity import tenant_of
from tierline_gateway.service import GatewayService

PATH = "/v1/files"
MOST_LISTED = 10_000


class FileEndpoints:
    """The handlers of files."""

    def __init__(self, service: GatewayService, batches: Batches, uploads: Uploads) -> None:
        self._service = service
        self._batches = batches
        self._uploads = uploads

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post(PATH, self.upload)
        router.add_get(PATH, self.owned)
        router.add_get(PATH + "/{file}", self.file)
        router.add_delete(PATH + "/{file}", self.delete)
        router.add_get(PATH + "/{file}/content", self.content)

    async def upload(self, request: web.Request) -> web.Response:
        return _json((await self._uploads.receive(request, self._tenant(request))).shown())

    async def owned(self, request: web.Request) -> web.Response:
        files = await self._batches.files.owned(self._tenant(request))
        purpose, order = request.query.get("purpose"), request.query.get("order", "desc")
        if order not in ("asc", "desc"):
            raise invalid("order", f"'order' is {order!r}; it must be asc or desc.")
        wanted = [file for file in files if purpose in (None, file.purpose)]
        listed = wanted[::-1] if order == "asc" else wanted
        return _json(page_of(listed, request.query, MOST_LISTED, MOST_LISTED))

    async def file(self, request: web.Request) -> web.Response:
        return _json((await self._found(request)).shown())

    async def delete(self, request: web.Request) -> web.Response:
        file = await self._found(request)
        await self._batches.delete_file(file)
        return _json({"id": file.id, "object": "file", "deleted": True})

    async def content(self, request: web.Request) -> web.StreamResponse:
        """Stream a file; the client takes it piece by piece, so that none is in memory as a whole."""
        file = await self._found(request)
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        response.content_length = file.size_bytes
        await response.prepare(request)
        async for chunk in self._batches.files.chunks(file):
            await response.write(chunk)
        await response.write_eof()
        return response

    def _tenant(self, request: web.Request) -> str:
        return tenant_of(self._service.snapshot(), request.headers).tenant

    async def _found(self, request: web.Request) -> StoredFile:
        tenant, file_id = self._tenant(request), request.match_info["file"]
        file = await self._batches.files.find(tenant, file_id)
        if file is None:
            message = f"There is no file {file_id!r} of this tenant; it may be deleted or expired."
            raise ApiError(404, message, "FileNotFound", param="file_id", code="file_not_found")
        return file


def _json(body: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")

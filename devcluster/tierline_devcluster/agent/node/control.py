"""The control socket: faults that no Kubernetes object can ask for."""

from aiohttp import web

from tierline_devcluster.agent.node.machines import Machines


def application(machines: Machines) -> web.Application:
    """Serve `POST /nodes/{name}/kill`: 204 when the machine is dead, 404 when no live node has the name."""

    async def kill(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if await machines.kill(name):
            return web.Response(status=204)
        raise web.HTTPNotFound(text=f"no live node is named {name}")

    app = web.Application()
    app.router.add_post("/nodes/{name}/kill", kill)
    return app

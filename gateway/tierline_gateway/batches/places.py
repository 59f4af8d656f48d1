"""How many lines of batches are at the desk at one time: of each tenant, and of all.

The desk orders what is there by tier and tenant; lines beyond these places wait in their file, which costs nothing.
"""

import asyncio
from collections.abc import Callable

OF_TENANT = 64
OF_ALL = 256


class Places:
    """Places of one process."""

    def __init__(self, of_tenant: int = OF_TENANT, of_all: int = OF_ALL) -> None:
        self._of_tenant = of_tenant
        self._all = asyncio.Semaphore(of_all)
        self._tenants: dict[str, asyncio.Semaphore] = {}

    async def take(self, tenant: str) -> Callable[[], None]:
        """Wait for a place; returns what gives it back."""
        own = self._tenants.setdefault(tenant, asyncio.Semaphore(self._of_tenant))
        await own.acquire()
        try:
            await self._all.acquire()
        except BaseException:
            own.release()
            raise

        def release() -> None:
            self._all.release()
            own.release()

        return release

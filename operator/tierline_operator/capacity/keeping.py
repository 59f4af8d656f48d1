"""ConfigMaps of the operator: the price table that it reads, and what it has learned."""

import logging

from tierline.fleet.placement.prices import PriceTable, WrongPrices, read_prices
from tierline.fleet.scaling.learned import Learned, read_learned, write_learned
from tierline_operator.cluster import MERGE_PATCH, ApiError, Call, Cluster
from tierline_operator.kinds import CONFIG_MAP

log = logging.getLogger(__name__)

PRICES_KEY = "prices.json"
LEARNED_KEY = "learned.json"


class Keeper:
    """Reads and writes them in the operator's namespace; an empty name means that there is none."""

    def __init__(self, cluster: Cluster, namespace: str, prices: str, learned: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._prices = prices
        self._learned = learned
        self._written = ""

    async def prices(self) -> PriceTable | None:
        """Return the price table; None when it is wrong, so that the last good one stays."""
        text = await self._read(self._prices, PRICES_KEY)
        try:
            return read_prices(text) if text is not None else PriceTable()
        except WrongPrices as error:
            log.error("ConfigMap %s: %s", self._prices, error)
            return None

    async def learned(self) -> Learned:
        """Return what a former leader has learned."""
        return read_learned(await self._read(self._learned, LEARNED_KEY) or "")

    async def keep(self, learned: Learned) -> None:
        """Write what was learned, if its text has changed."""
        text = write_learned(learned)
        if not self._learned or text == self._written:
            return
        body = {
            "apiVersion": CONFIG_MAP.api_version,
            "kind": CONFIG_MAP.kind,
            "metadata": {"name": self._learned, "namespace": self._namespace},
            "data": {LEARNED_KEY: text},
        }
        try:
            await self._cluster.request(Call("PATCH", self._path(self._learned), body=body, content_type=MERGE_PATCH))
        except ApiError as error:
            if error.status != 404:
                raise
            await self._cluster.request(Call("POST", self._path(""), body=body))
        self._written = text

    async def _read(self, name: str, key: str) -> str | None:
        if not name:
            return None
        try:
            found = await self._cluster.request(Call("GET", self._path(name)))
        except ApiError as error:
            if error.status != 404:
                raise
            return None
        text = found.get("data", {}).get(key)
        return str(text) if text is not None else None

    def _path(self, name: str) -> str:
        return CONFIG_MAP.path(self._namespace, name)

import json
from pathlib import Path

import pytest
import yaml

from tierline.fleet.placement.market import Market, Supply
from tierline.fleet.placement.prices import UNKNOWN_CENTS, PriceTable, WrongPrices, read_prices


def table(*entries: tuple[str, str, str, int]) -> PriceTable:
    fields = ("accelerator", "capacityType", "zone", "centsPerHour")
    return read_prices(json.dumps([dict(zip(fields, entry, strict=True)) for entry in entries]))


def test_the_most_exact_entry_holds_and_the_accelerator_counts_more_than_the_zone():
    prices = table(("*", "spot", "*", 10), ("*", "spot", "a", 20), ("h100", "spot", "*", 30), ("h100", "spot", "a", 40))
    spot = Supply.SPOT
    assert prices.cents_per_hour(spot, Market("b", "l4")) == 10
    assert prices.cents_per_hour(spot, Market("a", "l4")) == 20
    assert prices.cents_per_hour(spot, Market("b", "h100")) == 30
    assert prices.cents_per_hour(spot, Market("a", "h100")) == 40


def test_what_has_no_price_is_dear_and_without_a_table_all_is_equal():
    assert table(("l4", "spot", "*", 10)).cents_per_hour(Supply.SPOT, Market("a", "h100")) == UNKNOWN_CENTS
    assert PriceTable().cents_per_hour(Supply.SPOT, Market("a", "h100")) == 0


def test_markets_that_are_named_outright_may_have_supply_before_any_node_is_there():
    prices = table(("l4", "spot", "a", 10), ("l4", "spot", "*", 10), ("l4", "on-demand", "b", 30))
    assert prices.markets(Supply.SPOT) == {Market("a", "l4")}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not JSON"),
        ("{}", "a list"),
        ("[1]", r"prices\[0\] must be an object"),
        ('[{"capacityType": "cheap", "centsPerHour": 1}]', r"prices\[0\].capacityType must be spot or on-demand"),
        ('[{"capacityType": ["spot"], "centsPerHour": 1}]', r"prices\[0\].capacityType must be spot or on-demand"),
        ('[{"capacityType": "spot", "centsPerHour": 1.5}]', r"prices\[0\].centsPerHour must be a whole number"),
        ('[{"capacityType": "spot", "centsPerHour": -1}]', r"prices\[0\].centsPerHour must be a whole number"),
        ('[{"capacityType": "spot", "centsPerHour": 1, "zone": 7}]', r"prices\[0\].zone must be a name"),
    ],
)
def test_a_wrong_table_says_which_entry_and_what_to_put_right(text, told):
    with pytest.raises(WrongPrices, match=told):
        read_prices(text)


def test_the_charts_own_table_is_readable_and_spot_is_cheaper():
    values = yaml.safe_load((Path(__file__).parents[3] / "charts/tierline/values.yaml").read_text())
    prices = read_prices(json.dumps(values["prices"]))
    for accelerator in ("h100", "a100", "a40", "unheard-of"):
        market = Market("a", accelerator)
        assert prices.cents_per_hour(Supply.SPOT, market) < prices.cents_per_hour(Supply.ON_DEMAND, market)

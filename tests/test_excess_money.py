"""What a finding is worth, where the products outgrow 64 bits."""

from decimal import Decimal
from types import SimpleNamespace

import polars as pl

from engine.audit import money


def test_a_price_difference_over_very_dear_lines_is_spread_without_wrapping():
    dear = 5_000_000_000  # fen, and dear x dear is beyond 64 bits
    claim = pl.DataFrame({"id": ["V"], "fund": [dear], "scope": [2 * dear]})
    lines = pl.DataFrame(
        {"_case": [0, 0], "id": ["a", "b"], "_visit": ["V", "V"], "_order": [0, 1], "_cost": [dear, dear],
         "_inscope": [dear, dear], "_excess": [Decimal(dear) / 100] * 2},
        schema_overrides={"_excess": money.UNITS},
    )  # fmt: skip
    rows = money._differences(SimpleNamespace(visits=lambda words: claim), lines)
    assert rows["gross"].to_list() == [dear // 2] * 2
    assert rows["inscope"].to_list() == [dear // 2] * 2
    assert rows["fund"].to_list() == [dear // 4] * 2

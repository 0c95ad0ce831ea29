"""Persons: one person may have several numbers; newborns bear their mother's certificate."""

from datetime import date

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.tables.persons import bucket_of, resolve

SCHEMA = {"psn_no": pl.String, "certno": pl.String, "brdy": pl.Date, "gend": pl.String, "acct_group": pl.String}


def resolved(*rows: tuple) -> dict[str, str]:
    return dict(resolve(pl.DataFrame(rows, schema=SCHEMA, orient="row")).iter_rows())


DAY, LATER = date(1980, 1, 1), date(2024, 1, 1)


def test_certificate_birthday_and_sex_together_are_one_person():
    assert resolved(("2", "11x", DAY, "1", None), ("1", "11X", DAY, "1", None)) == {"1": "1", "2": "1"}


def test_a_newborn_with_its_mothers_certificate_is_another_person():
    assert resolved(("1", "11X", DAY, "2", None), ("2", "11X", LATER, "2", None)) == {"1": "1", "2": "2"}


def test_a_certificate_without_a_birthday_joins_nobody():
    assert resolved(("1", "11X", None, "2", None), ("2", "11X", None, "2", None)) == {"1": "1", "2": "2"}


def test_blank_certificates_and_groups_join_nobody():
    assert resolved(("1", "", DAY, "1", ""), ("2", " ", DAY, "1", " "), ("3", None, DAY, "1", None)) == dict(
        zip("123", "123", strict=True)
    )


def test_an_account_group_joins_and_so_do_chains_of_links():
    rows = [
        ("4", "a", DAY, "1", "g"),
        ("3", None, None, None, "g"),
        ("2", "a", DAY, "1", "h"),
        ("1", None, None, None, "h"),
    ]
    assert set(resolved(*rows).values()) == {"1"}


def test_claims_without_certificates_are_resolved_too():
    claims = pl.DataFrame({"psn_no": ["b", "a", "b", None], "setl_id": ["1", "2", "3", "4"]})
    assert resolve(claims).rows() == [("a", "a"), ("b", "b")]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 6), st.integers(0, 6)), max_size=30))
def test_components_are_those_of_a_plain_union_find(rows):
    found = resolved(*[(f"{p:02}", f"c{c}", DAY, "1", f"g{g}") for p, c, g in rows])
    parent = {f"{p:02}": f"{p:02}" for p, _, _ in rows}

    def root(x):
        return x if parent[x] == x else root(parent[x])

    for i, (p, c, g) in enumerate(rows):
        for q, d, h in rows[:i]:
            if c == d or g == h:
                low, high = sorted((root(f"{p:02}"), root(f"{q:02}")))
                parent[high] = low
    assert found == {x: root(x) for x in parent}


def test_buckets_never_change():
    # FNV-1a of these bytes, known from its definition: a later version must place a person in the same bucket
    people = pl.Series(["a", "449900000409", "HIS00001863", "张三"])
    assert bucket_of(people, 64).to_list() == [12, 16, 13, 59]
    assert bucket_of(people, 64).dtype == pl.UInt32


def test_buckets_are_filled_evenly():
    counts = bucket_of(pl.Series([f"4499{i:08}" for i in range(20_000)]), 16).value_counts()["count"]
    assert counts.len() == 16
    assert counts.max() < 1.15 * counts.min()

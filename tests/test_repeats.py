"""The codes that occur more than once, found by sorting fingerprints, against a dictionary of keys."""

from collections import defaultdict

import numpy as np
import pytest

from engine.tracing import repeats as module
from engine.tracing.repeats import mixed, repeats

MANY = 300_000  # more than are worked on at once
CASES = {
    "none": np.empty(0, np.uint64),
    "one": np.array([7], np.uint64),
    "two alike": np.array([7, 7], np.uint64),
    "two": np.array([7, 8], np.uint64),
    "all alike": np.full(MANY, 8_123_456 * 10**12, np.uint64),
    "in order": np.arange(MANY, dtype=np.uint64),
    "backwards, twice": np.tile(np.arange(MANY // 2, dtype=np.uint64)[::-1], 2),
    "ends of the range": np.array([0, 2**64 - 1, 0, 2**64 - 1, 1, 2**63, 2**63 - 1], np.uint64),
}


def realistic(rng, count: int, share: float) -> np.ndarray:
    """Codes of a few products with random serials, of which a share was sold again."""
    products = rng.integers(10**5, 3 * 10**6, 50).astype(np.uint64)
    keys = products[rng.integers(0, 50, count)] * np.uint64(10**13) + rng.integers(0, 10**13, count).astype(np.uint64)
    again = np.flatnonzero(rng.random(count) < share)
    keys[again] = keys[rng.integers(0, count, len(again))]
    return keys


def by_hand(keys: np.ndarray) -> dict[int, list[int]]:
    rows = defaultdict(list)
    for row, key in enumerate(keys.tolist()):
        rows[key].append(row)
    return {key: found for key, found in rows.items() if len(found) > 1}


def told(keys: np.ndarray, threads: int | None = 2) -> dict[int, list[int]]:
    found = repeats(keys, threads)
    groups = [rows.tolist() for rows in np.split(found.rows, found.starts[1:-1])] if len(found) else []
    assert [len(rows) for rows in groups] == found.sizes().tolist()
    assert found.of_row().tolist() == [n for n, rows in enumerate(groups) for _ in rows]
    assert len({int(keys[rows[0]]) for rows in groups}) == len(groups)
    return {int(keys[rows[0]]): rows for rows in groups}


@pytest.mark.parametrize("case", CASES)
def test_repeats_are_those_of_a_dictionary(case):
    assert told(CASES[case]) == by_hand(CASES[case])


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.5, 1])
def test_repeats_among_realistic_codes(share):
    keys = realistic(np.random.default_rng(round(share * 1000)), MANY, share)
    assert told(keys) == by_hand(keys)


@pytest.mark.parametrize("bits", [1, 5, 12])
def test_codes_that_share_a_fingerprint_are_told_apart_by_their_keys(monkeypatch, bits):
    """Fingerprints of so few bits that nearly every code shares one: the answer rests on the keys alone."""
    keys = realistic(np.random.default_rng(bits), 20_000, 0.05)
    monkeypatch.setattr(module, "_ODD", np.uint64(1 << (64 - bits)))
    assert told(keys) == by_hand(keys)


def test_the_answer_is_the_same_for_any_number_of_threads():
    keys = realistic(np.random.default_rng(3), MANY, 0.02)
    one, four = repeats(keys, 1), repeats(keys, 4)
    assert np.array_equal(one.rows, four.rows)
    assert np.array_equal(one.starts, four.starts)


def test_no_two_keys_have_one_fingerprint_of_full_length():
    keys = np.arange(10**6, dtype=np.uint64) * np.uint64(10**13)
    assert len(np.unique(mixed(keys))) == len(keys)

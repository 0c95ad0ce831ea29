"""Trace codes as text and as keys."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.tables.problems import InvariantBroken
from engine.tracing import codes

PLAIN = "83850930000879766660"
GS1 = "06901234567892|AB12CD"


def read(*texts: str | None) -> pl.DataFrame:
    """Text and class of each scan, by the expressions alone."""
    frame = pl.DataFrame({"c": texts}, schema={"c": pl.String}).select(text=codes.normalise(pl.col("c")))
    return frame.with_columns(kind=codes.classify(pl.col("text")).cast(pl.String))


def test_one_code_has_one_text_however_it_was_typed():
    full_width = PLAIN.translate({ord(str(d)): chr(0xFF10 + d) for d in range(10)})
    typed = [
        f"  {PLAIN} ",
        "8385093 0000879766660",
        "8385093-0000-8797–66660",
        full_width,
        f"\u200b{PLAIN}\ufeff",
        f"'{PLAIN}",
        f'="{PLAIN}"',
        f"https://scan.example.cn/drug/{PLAIN}",
        f"https://scan.example.cn/q?code={PLAIN}&v=2",
        f"http://scan.example.cn/q?v=2&c={PLAIN}#top",
    ]
    assert read(*typed)["text"].to_list() == [PLAIN] * len(typed)


def test_gs1_is_known_by_gtin_and_serial_alone():
    scanned = [
        "(01)06901234567892(21)AB12CD(17)270101(10)LOT7",
        "(01)06901234567892(10)LOT7(17)270101(21)ab12cd",
        "（01）06901234567892（21）AB12CD",
        "]d2010690123456789221AB12CD\x1d1727010110LOT7",
        "]C1\x1d010690123456789221AB12CD",
        "01069012345678921727010110LOT7\x1d21AB12CD",
        "010690123456789210LOT7<GS>21AB12CD{GS}17270101",
        "https://id.gs1.org/01/06901234567892/10/LOT7/21/AB12CD",
    ]
    result = read(*scanned)
    assert result["text"].to_list() == [GS1] * len(scanned)
    assert result["kind"].unique().to_list() == ["gs1"]


def test_gs1_without_serial_names_a_product_like_a_barcode():
    # In the second, the lot is not closed, so where the serial begins cannot be known.
    result = read("(01)06901234567892(10)LOT7", "010690123456789210LOT721AB12CD")
    assert result["text"].to_list() == ["06901234567892"] * 2
    assert result["kind"].to_list() == ["barcode"] * 2


def test_every_scan_has_one_class():
    classes = {
        PLAIN: "genuine",
        "9" * 20: "placeholder",
        "8" * 20: "placeholder",
        "９" * 20: "placeholder",
        "6901234567892": "barcode",
        "86904879000126": "barcode",
        "8.38509E+19": "bad",
        "83850930000879700000": "bad",
        "83850930000879766660.0": "bad",
        PLAIN[:-1]: "bad",
        PLAIN + "1": "bad",
        "8385093": "bad",
        "无追溯码产品没有任何码可扫": "bad",
        "(01)06901234567893(21)AB12CD": "bad",
        "12345678901234567890": "other_issuer",
        "ABC-2024/000012345678": "other_issuer",
        "": None,
        "   ": None,
        None: None,
    }
    assert read(*classes)["kind"].to_list() == list(classes.values())


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**19 - 1))
def test_the_key_of_a_common_code_is_its_digits_behind_the_first(number):
    text = f"8{number:019d}"
    frame = codes.keyed(pl.DataFrame({"drug_trac_codg": [text]}))
    if frame["code_class"].item() == "genuine":
        assert frame["code_key"].item() == number
        assert frame["ident"].item() == int(text[:7])
    else:
        assert frame["code_key"].item() is None


def test_keys_of_other_codes_lie_above_those_of_common_codes():
    frame = codes.keyed(pl.DataFrame({"drug_trac_codg": ["(01)06901234567892(21)AB12CD", "8" + "9" * 18 + "8"]}))
    other, largest = frame["code_key"]
    assert largest < 10**19 <= other
    assert frame["ident"][0] == 6901234567892


ODD = ["9" * 20, "6901234567892", "8.38E+19", "", None, "(01)06901234567892(21)AB12CD", "12345678901234567890", "无"]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from([*ODD, PLAIN, "8385093 0000879766660"]), max_size=12))
def test_the_fast_reading_agrees_with_the_slow_one_and_keeps_the_rows(texts):
    frame = pl.DataFrame({"drug_trac_codg": texts}, schema={"drug_trac_codg": pl.String})
    text = pl.col("code")
    slow = frame.select(code=codes.normalise(pl.col("drug_trac_codg")))
    slow = slow.with_columns(code_class=codes.classify(text), code_key=codes.code_key(text))
    assert codes.keyed(frame).select(slow.columns).equals(slow)


def test_unusable_codes_have_no_key():
    frame = codes.keyed(pl.DataFrame({"drug_trac_codg": ["9" * 20, "6901234567892", "8.38509E+19"]}))
    assert frame["code_key"].null_count() == 3
    assert frame["ident"].null_count() == 3


def test_two_codes_with_one_key_are_refused(monkeypatch):
    monkeypatch.setattr(codes, "code_key", lambda normal: pl.lit(10**19 + 1, pl.UInt64))
    with pytest.raises(InvariantBroken):
        codes.keyed(pl.DataFrame({"drug_trac_codg": ["12345678901234567890", "22345678901234567890"]}))

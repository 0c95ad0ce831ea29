"""Trace codes as text and as keys."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.tables.problems import InvariantBroken
from engine.tracing import codes, forms

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


def test_lost_separators_are_put_back_only_where_the_serial_is_certain():
    for mark in ("~1", "␝", "<FNC1>", "{GS}", "[GS]", "(GS)", "\\x1d", "^]", "%1D"):
        assert read(f"]Q3010690123456789210LOT7{mark}21AB12CD{mark}17270101")["text"].item() == GS1, mark
    certain = ["010690123456789221AB12CD1727010110LOT7", "010690123456789221AB12CD1126010117270101"]
    assert read(*certain)["text"].to_list() == [GS1] * 2
    unclear = read("01069012345678921727010110LOT721AB12CD")
    assert unclear.row(0) == ("06901234567892||LOT721AB12CD", "lot_level")


def test_short_gtins_are_filled_up_and_symbologies_fall_off():
    scans = ["(01)6901234567892(21)AB12CD", "]e0(01)06901234567892(21)AB12CD",
             "[01]06901234567892[21]AB12CD",
             "[)>\x1e06\x1d0106901234567892\x1d21AB12CD\x1e\x04",
             "https://x.cn/01/6901234567892?21=AB12CD"]  # fmt: skip
    assert read(*scans)["text"].unique().to_list() == [GS1]
    assert read("(01)96385074(21)X1")["text"].item() == "00000096385074|X1"


def test_an_identification_without_a_serial_names_a_lot_and_joins_nothing():
    scans = {
        "(01)06901234567892(10)LOT7(17)270101": "06901234567892||LOT7",
        "(01)06901234567892(17)270101": "06901234567892||",
        "MA.156.M0.100226.09000049.M230609.L20230609": "MA.156.M0.100226.09000049||20230609",
        "+A123BJC5D6E71/$$3220630LOT123G": "+A123BJC5D6E71||3220630LOT123G",
    }
    result = read(*scans)
    assert result["text"].to_list() == list(scans.values())
    assert result["kind"].unique().to_list() == ["lot_level"]
    assert codes.keys_of(pl.Series(list(scans))).null_count() == len(scans)
    assert read("(01)06901234567892")["kind"].item() == "barcode"


def test_udi_of_other_issuers_is_known_by_product_and_serial():
    scans = {
        "MA.156.M0.100226.09000049.S2023A1.M230609.L2023.E250608.V": "MA.156.M0.100226.09000049|2023A1",
        "ma.156.m0.100226.09000049.L2023.E250608.S2023A1": "MA.156.M0.100226.09000049|2023A1",
        "+A123BJC5D6E71/$$3220630LOT123/S0001G": "+A123BJC5D6E71|0001G",
        "+A123BJC5D6E71/$$+3220630SER12": "+A123BJC5D6E71|SER12",
    }
    result = read(*scans)
    assert result["text"].to_list() == list(scans.values())
    assert result["kind"].unique().to_list() == ["other_issuer"]


def test_links_give_the_code_they_carry_and_never_the_name_of_a_server():
    links = {
        "https://x.cn/q?u=https%3A%2F%2Fy.cn%2F" + PLAIN: PLAIN,
        "https://id.gs1.org/01/06901234567892/21/AB%2B1?17=270101": "06901234567892|AB+1",
        "https://x.cn/q?code=ABCDEF1234567890&v=2": "ABCDEF1234567890",
    }
    assert read(*links)["text"].to_list() == list(links.values())
    bare = read("https://scan.example.cn", "https://scan.example.cn/index.htm", "https://scan.example.cn/?v=2")
    assert bare["kind"].unique().to_list() == ["bad"]


def test_labels_marks_and_a_code_typed_twice_are_no_part_of_it():
    other = PLAIN[:-1] + "1"
    once = [f"追溯码：{PLAIN}", "药品标识码：8385093 序列号：0000879766660", f"{PLAIN}。", f"{PLAIN}；", PLAIN * 2,
            f"{PLAIN},{PLAIN}", f"{PLAIN}\n{PLAIN}", f"{PLAIN}|{PLAIN}"]  # fmt: skip
    assert read(*once)["text"].unique().to_list() == [PLAIN]
    several = pl.DataFrame({"c": [PLAIN + other, f"{PLAIN}、{other}", f"{PLAIN} {other}", f"{PLAIN}; {other};"]})
    assert several.select(forms.parts(pl.col("c")))["c"].to_list() == [[PLAIN, other]] * 4
    assert read(*several["c"])["kind"].unique().to_list() == ["bad"]
    unsure = pl.DataFrame({"c": [PLAIN, PLAIN * 2, f"{PLAIN},123", "(01)06901234567892(21)A,(01)06901234567892(10)L"]})
    assert unsure.select(forms.parts(pl.col("c")))["c"].to_list() == [None] * 4
    gs1 = pl.DataFrame({"c": ["(01)06901234567892(21)A;(01)06901234567892(21)B"]}).select(forms.parts(pl.col("c")))
    assert gs1.item().to_list() == ["(01)06901234567892(21)A", "(01)06901234567892(21)B"]


def test_a_code_that_stands_for_no_pack_says_why_in_words():
    said = {"9" * 20: "占位码", "6901234567892": "商品条码", "06901234567892||L1": "只到批号", "8123": "不是二十位",
            "81000010000000000001": None, "06901234567892|A1": None, "ABCDEFGH1234567X": None}  # fmt: skip
    told = pl.DataFrame({"code": list(said)}).select(why=forms.why_unusable(pl.col("code")))["why"].to_list()
    for text, why in zip(told, said.values(), strict=True):
        assert (text is None) == (why is None) and (why or "") in (text or "")


def test_a_bad_code_has_its_reason():
    said = {
        "8.38509E+19": "scientific", "83850930000879700000": "precision", PLAIN[:-1]: "length",
        PLAIN + PLAIN[:-1] + "1": "several", "(01)06901234567893(21)AB": "check_digit", "https://x.cn": "link",
        "无码": "characters", "1234567": "short", "A" * 90 + "1" * 11: "long", PLAIN: None, GS1: None,
        "ABC-2024/000012345678": None, "06901234567892||LOT7": None,
    }  # fmt: skip
    frame = read(*said).select(why=forms.reason(pl.col("text")))
    assert frame["why"].to_list() == list(said.values())
    assert set(filter(None, said.values())) == set(forms.REASONS)


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
        "12345678901234567890": "placeholder",  # counted up on the keyboard
        "98765432109876543210": "placeholder",
        "87654321098765432109": "placeholder",
        "00000000000000": "placeholder",
        "99999999": "placeholder",
        "96385074": "barcode",
        "012345678905": "barcode",
        "16901234567890123456": "other_issuer",
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


ODD = ["9" * 20, "6901234567892", "8.38E+19", "", None, "(01)06901234567892(21)AB12CD", "16901234567890123456", "无",
       "12345678901234567890",
       "87654321098765432109", "(01)06901234567892(10)L"]  # fmt: skip


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
        codes.keyed(pl.DataFrame({"drug_trac_codg": ["16901234567890123456", "22345678901234567890"]}))


# --- Properties -----------------------------------------------------------------------------------------------------

GTINS = ["06901234567892", "00000096385074", "09506000134352"]
SERIALS = st.text("0123456789ABCDEFGHJK", min_size=1, max_size=12).filter(lambda s: "1" not in s and "2" not in s)
COMMON = st.integers(1, 10**18).map(lambda n: f"8{n * 7 + 1:019d}").filter(lambda c: codes.keys_of(pl.Series([c]))[0])
MADE = st.one_of(
    COMMON,
    st.tuples(st.sampled_from(GTINS), SERIALS).map("|".join),
    SERIALS.map(lambda s: f"MA.156.M0.100226.09000049|{s}"),
    SERIALS.map(lambda s: f"ENT{s:0>17}"),
)


def wide(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if c.isascii() and c.isalnum() else c for c in text)


def element(code: str, form: str) -> str:
    gtin, _, serial = code.partition("|")
    return form.format(g=gtin, s=serial) if serial and not code.startswith("MA") else code


FORMS = ["(01){g}(21){s}", "(01){g}(10)L7(21){s}", "01{g}21{s}\x1d10L7", "01{g}1727010110L7\x1d21{s}", "{g}|{s}",
         "https://id.gs1.org/01/{g}/21/{s}"]  # fmt: skip
DRESS = st.tuples(
    st.sampled_from(["", " ", "'", "\u200b", "追溯码：", "=", "，"]),
    st.sampled_from(FORMS),
    st.sampled_from([str, wide, str.lower]),
    st.sampled_from(["", " ", "\n", "。", "；", "\ufeff"]),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(MADE, DRESS), min_size=1, max_size=12))
def test_dress_never_changes_a_key_and_two_codes_never_share_one(made):
    bare = [code for code, _ in made]
    dressed = [
        front + (element(code, form) if "http" in form else change(element(code, form))) + back
        for code, (front, form, change, back) in made
    ]
    frame = codes.keyed(pl.DataFrame({"drug_trac_codg": dressed}))
    assert frame["code"].to_list() == bare
    assert frame["code_key"].null_count() == 0
    assert frame.select(pl.struct("code", "code_key").n_unique(), pl.col("code_key").n_unique()).row(0) == (
        len(set(bare)),
        len(set(bare)),
    )


@settings(deadline=None, max_examples=100)
@given(st.text("0123456789ABCdz()[]|~^/:?=&%.,;+$-#\x1d ８１（）：；。、追码{}<>GSHTP]", max_size=50))
def test_reading_a_code_again_changes_nothing(text):
    once = read(text)
    again = read(once["text"].item())
    assert once.equals(again)


@settings(deadline=None, max_examples=60)
@given(st.lists(MADE, max_size=12))
def test_keys_lead_back_to_their_codes(made):
    texts = pl.Series("c", [*made, "9" * 20, "6901234567892"], pl.String)
    keys = codes.keys_of(texts)
    back = codes.codes_of(keys, codes.other_codes(texts))
    assert back.to_list() == [*made, None, None]
    common = codes.keys_of(pl.Series(["80000000000000000001", "8" + "9" * 19]))
    assert codes.codes_of(common, codes.other_codes(texts.clear())).to_list() == [
        "80000000000000000001",
        "8" + "9" * 19,
    ]


def test_a_dictionary_of_two_texts_for_one_key_is_refused():
    twice = pl.DataFrame({"code_key": [10**19, 10**19], "code": ["A", "B"]}, schema_overrides={"code_key": pl.UInt64})
    with pytest.raises(InvariantBroken):
        codes.codes_of(twice["code_key"], twice)


# --- Several codes in one field -------------------------------------------------------------------------------------


def test_a_field_with_several_codes_becomes_several_events_where_it_is_certain():
    other = PLAIN[:-1] + "1"
    events = pl.DataFrame({
        "event_id": ["E1", "E2", "E3", "E4", "E5"],
        "drug_trac_codg": [PLAIN, f"{PLAIN},{other}", f"{PLAIN},{other}", f"{PLAIN}|123", None],
        "cnt": [1, 2, 1, 1, None],
    })  # fmt: skip
    lazy = codes.apart(events.lazy())
    assert lazy.collect().rows() == [
        ("E1", PLAIN, 1), ("E2", PLAIN, 1), ("E2#2", other, 1), ("E3", f"{PLAIN},{other}", 1),
        ("E4", f"{PLAIN}|123", 1),
        ("E5", None, None),
    ]  # fmt: skip
    assert codes.apart(events.drop("cnt")).height == 7
    assert codes.holds_several(events.lazy())
    assert not codes.holds_several(events.filter(pl.col("event_id").is_in(["E1", "E4", "E5"])).lazy())

"""What a claim leaves unsaid of its visit and other columns tell: its kind, the level, whether it is local."""

import polars as pl

# the first two digits; local four-digit codes nest under them
_BY_MED_TYPE = {
    "11": "general_outpatient", "12": "general_outpatient", "13": "emergency_outpatient", "14": "chronic_outpatient",
    "19": "general_outpatient", "21": "inpatient", "22": "inpatient", "23": "inpatient", "24": "emergency_inpatient",
    "41": "pharmacy", "51": "general_outpatient", "52": "inpatient", "53": "general_outpatient",
    "91": "general_outpatient",
}  # fmt: skip
_BY_ADM_KIND = {"day_surgery": "day_surgery", "home_bed": "home_bed", "emergency": "emergency_inpatient"}


def with_visit_kind(claims: pl.LazyFrame) -> pl.LazyFrame:
    """Claims whose visit_kind, where blank, follows from med_type, and of stays from adm_kind and daysurg_flag.

    Fields the claims do not have stay absent; without med_type nothing is added.
    """
    have = claims.collect_schema().names()
    if "med_type" not in have:
        return claims
    kind, adm_kind, by_day = (
        pl.col(name) if name in have else pl.lit(None, pl.String) for name in ("visit_kind", "adm_kind", "daysurg_flag")
    )
    told = pl.col("med_type").str.slice(0, 2).replace_strict(_BY_MED_TYPE, default=None, return_dtype=pl.String)
    stay = adm_kind.replace_strict(_BY_ADM_KIND, default=None, return_dtype=pl.String)
    of_day = pl.when(by_day == "1").then(pl.lit("day_surgery"))
    of_stay = pl.coalesce(stay, of_day, told)
    return claims.with_columns(visit_kind=pl.coalesce(kind, pl.when(told == "inpatient").then(of_stay).otherwise(told)))


def with_place(claims: pl.DataFrame, institutions: pl.DataFrame | None) -> pl.DataFrame:
    """Claims with a blank hosp_lv as the institution's, and a blank local_flag by the cities of insurance and of care.

    A city is the first four digits of the area code; where one of the two is not known the flag stays blank.
    """
    if claims["local_flag"].null_count():
        home, care = (pl.col(name).str.slice(0, 4) for name in ("insu_admdvs", "mdtrtarea_admdvs"))
        told = pl.when(home != care).then(pl.lit("0")).when(home == care).then(pl.lit("1"))
        claims = claims.with_columns(local_flag=pl.coalesce("local_flag", told))
    if institutions is None or not claims["hosp_lv"].null_count():
        return claims
    known = institutions.select("fixmedins_code", _level="hosp_lv").drop_nulls()
    known = known.sort("fixmedins_code", "_level").unique("fixmedins_code", keep="first", maintain_order=True)
    claims = claims.join(known, on="fixmedins_code", how="left", maintain_order="left")
    return claims.with_columns(hosp_lv=pl.coalesce("hosp_lv", "_level")).drop("_level")

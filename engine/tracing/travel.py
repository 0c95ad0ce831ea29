"""From one site to the next: how far, how long ago, and whether a pack could have made the way."""

import polars as pl

from engine.tables.dictionary import with_fields
from engine.tracing.events import id_of

EARTH_KM = 6371.0


def site_table(institutions: pl.DataFrame | None, chains: pl.DataFrame | None) -> pl.DataFrame:
    """One row per known site: site, `group` (its chain, else itself), admdvs, lon and lat in radians, site_type."""
    schema = {"site": pl.UInt64, "group": pl.UInt64, "admdvs": pl.UInt64, "lon": pl.Float64, "lat": pl.Float64,
              "site_type": pl.String}  # fmt: skip
    sites = pl.DataFrame(schema={name: schema[name] for name in ("site", "admdvs", "lon", "lat", "site_type")})
    if institutions is not None:
        sites = with_fields(institutions, "institutions", "admdvs", "lon", "lat", "fixmedins_type").select(
            site=id_of("fixmedins_code"),
            admdvs=id_of("admdvs"),
            lon=pl.col("lon").cast(pl.Float64).radians(),
            lat=pl.col("lat").cast(pl.Float64).radians(),
            site_type="fixmedins_type",
        )
    members = pl.DataFrame(schema={"site": pl.UInt64, "chain": pl.UInt64})
    if chains is not None:
        members = chains.select(site=id_of("fixmedins_code"), chain=id_of("chain_id"))
    sites = sites.join(members, on="site", how="full", coalesce=True)
    sites = sites.with_columns(group=pl.coalesce("chain", "site")).select(*schema).sort(*schema)
    return sites.unique("site", keep="first", maintain_order=True)


def with_group(frame: pl.DataFrame, sites: pl.DataFrame) -> pl.DataFrame:
    """The frame with the `group` of each site: its chain, else the site itself."""
    frame = frame.join(sites.select("site", "group"), on="site", how="left", maintain_order="left")
    return frame.with_columns(pl.coalesce("group", "site").alias("group"))


def hops(
    sales: pl.DataFrame, sites: pl.DataFrame, *, tolerance_minutes: int, speed: int, fast_speed: int, far_km: int,
    near_km: int,
) -> pl.DataFrame:  # fmt: skip
    """One row per standing sale that follows a standing sale of the code at another site.

    Columns: key, row, time and site of the later sale, gap_minutes, outside (of one chain), other_district,
    km (null where a position is unknown), shortfall_minutes (travelling time less gap and tolerance). Speeds are km/h,
    `fast_speed` beyond `far_km`. Within `near_km` the two last are null: there travel says nothing.
    """
    before = [pl.col(name).shift(1).alias(f"{name}_before") for name in ("key", "site", "time")]
    moved = sales.with_columns(before).filter(
        (pl.col("key") == pl.col("key_before")) & (pl.col("site") != pl.col("site_before"))
    )
    pairs = moved.join(sites, on="site", how="left").join(
        sites, left_on="site_before", right_on="site", how="left", suffix="_before"
    )
    group = pl.coalesce("group", "site") != pl.coalesce("group_before", "site_before")
    km = _kilometres(pl.col("lon"), pl.col("lat"), pl.col("lon_before"), pl.col("lat_before"))
    pairs = pairs.with_columns(km=km, gap_minutes=(pl.col("time") - pl.col("time_before")).dt.total_minutes())
    near = pl.col("km") < near_km
    hours = pl.col("km") / pl.when(pl.col("km") > far_km).then(fast_speed).otherwise(speed)
    return pairs.select(
        "key",
        "row",
        "time",
        "site",
        "gap_minutes",
        "km",
        outside=group,
        other_district=(pl.col("admdvs") != pl.col("admdvs_before")) & ~near.fill_null(False),
        shortfall_minutes=pl.when(~near).then((hours * 60).floor() - pl.col("gap_minutes") - tolerance_minutes),
    )


def metres_between(lon: str, lat: str, lon_before: str, lat_before: str) -> pl.Expr:
    """Whole metres between two positions given as columns of degrees; null where one is missing."""
    places = (pl.col(name).cast(pl.Float64).radians() for name in (lon, lat, lon_before, lat_before))
    return (_kilometres(*places) * 1000).round().cast(pl.Int64)


def _kilometres(lon: pl.Expr, lat: pl.Expr, lon_before: pl.Expr, lat_before: pl.Expr) -> pl.Expr:
    """Great-circle distance of two positions in radians (haversine)."""
    half = ((lat - lat_before) / 2).sin() ** 2 + lat.cos() * lat_before.cos() * ((lon - lon_before) / 2).sin() ** 2
    return 2 * EARTH_KM * half.sqrt().arcsin()

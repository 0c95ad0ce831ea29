"""Which person numbers are one person: connected components of numbers that share an identity or an account group.

An identity is certificate, birthday and sex together. A certificate alone never joins two: newborns bear the
mother's.
"""

import polars as pl

from engine.tables.dictionary import with_fields

FNV_START, FNV_PRIME = 14695981039346656037, 1099511628211


def resolve(frame: pl.DataFrame) -> pl.DataFrame:
    """(psn_no, person) for every psn_no of a persons or claims frame; person is the smallest psn_no of its component.

    Reads certno, brdy, gend and acct_group where present. Sorted by psn_no.
    """
    frame = with_fields(frame, "persons", "psn_no", "certno", "brdy", "gend", "acct_group").filter(
        pl.col("psn_no").is_not_null()
    )
    numbers = frame.select(pl.col("psn_no").unique().sort())
    nodes = numbers.with_row_index("node").with_columns(label=pl.col("node"))
    edges = _edges(frame).join(nodes.select("psn_no", "node"), on="psn_no").select("node", "link")
    label = nodes["label"]
    while True:
        after = _spread(label, edges)
        if after.equals(label):
            break
        label = after
    return pl.DataFrame({"psn_no": numbers["psn_no"], "person": numbers["psn_no"].gather(label)})


def _edges(frame: pl.DataFrame) -> pl.DataFrame:
    """(psn_no, link): two numbers with the same link are one person. Links held by one number only are left out."""
    certno = pl.col("certno").str.strip_chars().str.to_uppercase()
    identity = pl.struct(certno.alias("certno"), pl.col("brdy").cast(pl.Date), "gend")
    known = frame.filter((certno != "") & pl.col("brdy").is_not_null() & pl.col("gend").is_not_null())
    grouped = frame.filter(pl.col("acct_group").str.strip_chars() != "")
    by_identity = known.select("psn_no", identity.rank("dense").alias("link")).unique()
    by_account = grouped.select("psn_no", pl.col("acct_group").rank("dense").alias("link")).unique()
    by_account = by_account.with_columns(
        link=pl.col("link") + by_identity.select(pl.col("link").max().fill_null(0)).item()
    )
    both = pl.concat([by_identity, by_account])
    return both.filter(pl.len().over("link") > 1)


def _spread(label: pl.Series, edges: pl.DataFrame) -> pl.Series:
    """One round: a link takes the smallest label it touches, a number the smallest of its links, then that label's."""
    if edges.is_empty():
        return label
    touched = edges.with_columns(label=label.gather(edges["node"])).with_columns(
        least=pl.col("label").min().over("link")
    )
    least = touched.group_by("node").agg(pl.col("least").min())
    spread = pl.DataFrame({"node": pl.int_range(len(label), dtype=pl.UInt32, eager=True), "label": label})
    spread = (
        spread.join(least, on="node", how="left", maintain_order="left")
        .select(pl.min_horizontal("label", "least"))
        .to_series()
    )
    return spread.gather(spread)


def bucket_of(person: pl.Series, n: int) -> pl.Series:
    """The bucket (UInt32, 0 to n-1) of each person: FNV-1a over the UTF-8 bytes, the same in every version."""
    frame = pl.DataFrame({"bytes": person.cast(pl.Binary)}).with_columns(hash=pl.lit(FNV_START, pl.UInt64))
    for i in range(frame["bytes"].bin.size().max() or 0):
        byte = pl.col("bytes").bin.slice(i, 1).bin.reinterpret(dtype=pl.UInt8).cast(pl.UInt64)
        mixed = (pl.col("hash") ^ byte) * FNV_PRIME
        frame = frame.with_columns(hash=pl.when(pl.col("bytes").bin.size() > i).then(mixed).otherwise("hash"))
    return frame.select((pl.col("hash") % n).cast(pl.UInt32).alias("bucket")).to_series()

"""The facts of an extract as an audit sees them, all in one bucket: what the engine and SQL are both asked about."""

from engine.audit.facts import Facts
from engine.run import buckets
from engine.tables.dictionary import with_fields
from engine.tables.netting import net
from engine.tables.read import read


def facts_of(source, region, work) -> Facts:
    extract = read(source, work / "read", "auto", region.knowledge["wordings"])
    buckets.split(extract.tables, work / "buckets", lines_a_bucket=10**9)
    tables = buckets.bucket_tables(work / "buckets", 0)
    names = ("claims", "fee_lines")
    claims, lines = net(*(with_fields(tables[name], name) for name in names))[:2]
    return Facts({**tables, "claims": claims, "fee_lines": lines}, region.knowledge, region.presumptions)

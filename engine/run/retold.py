"""Rows that an earlier month of an index told already are set aside, as a copy within one delivery is.

Deliveries overlap: the last days of a month come again with the next. A fee line or claim that counted twice would be
billed twice, and a sale told by quantity alone would be sold twice.
"""

from dataclasses import replace

import polars as pl

from engine.run.codeindex import LARGE, LEDGER, CodeIndex
from engine.tables import reasons
from engine.tables.dictionary import table
from engine.tables.extract import Extract
from engine.tracing.events import id_of

CODE = "E_TOLD_EARLIER"


def without_retold(extract: Extract, index: CodeIndex) -> Extract:
    """The extract less the rows of its large tables whose key stands in the index, which are rejects."""
    tables, inputs, found = dict(extract.tables), {i["path"]: dict(i) for i in extract.inputs}, [extract.rejects]
    for name in LARGE:
        earlier, own = index.table(name), tables.get(name)
        if name in LEDGER or earlier is None or own is None:
            continue
        key = table(name).key[0]
        ids = own.select(id_of(key)).collect().to_series()
        known = earlier.select(id_of(key)).filter(pl.col(key).is_in(ids.implode())).collect(engine="streaming")
        retold = id_of(key).is_in(known.to_series().implode())
        tables[name] = own.filter(~retold)
        for (path,), rows in own.filter(retold).collect().partition_by("_file", as_dict=True).items():
            found.append(reasons.issues(rows, path, key, CODE, reasons.masked(pl.col(key))))
            totals = inputs[path]["control_totals"]
            own_totals = {n: total - int(rows[n].sum()) for n, total in totals.items() if n in rows.columns}
            inputs[path]["control_totals"] = totals | own_totals
    # A row of a file may have been told in several tables.
    rejects = pl.concat(found).unique(["file", "line", "column", "code"], keep="first", maintain_order=True)
    again = rejects.filter(code=CODE).group_by("file").agg(pl.col("line").n_unique())
    for path, rows in again.iter_rows():
        inputs[path]["accepted"] -= rows
        inputs[path]["rejected"] += rows
    rejects = rejects.sort("file", "line", "column", "code", "raw")
    return replace(extract, tables=tables, rejects=rejects, inputs=list(inputs.values()))

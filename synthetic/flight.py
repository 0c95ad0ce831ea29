"""Writing a bundle in the 2024 flight-inspection form: eleven files, made from the canonical tables."""

from pathlib import Path

import polars as pl

from synthetic import flight_form as form
from synthetic.claims import STAYS
from synthetic.flight_form import OTHERS, c
from synthetic.world import World
from synthetic.write import in_yuan

OF_CLAIM = ["setl_id", "fixmedins_code", "fixmedins_name", "psn_no", "certno", "social_id", "ipt_otp_no", "setl_time",
            "insured_flag", "init_setl_id", "visit_kind"]  # fmt: skip
WIDE = "|@|"  # separator of the diagnosis file; the others have a comma


class FlightFiles:
    """Adds batches of canonical tables to the eleven files and renames lines to file and physical line."""

    def __init__(self, out: Path, world: World):
        self.out, self.world, self.rows = out, world, {}
        out.mkdir(parents=True, exist_ok=True)

    def add(self, tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
        """Writes the claims of a batch; answers their truth with feedetl_sn as {file}:{physical line}."""
        sites = self.world.institutions.select("fixmedins_code", "fixmedins_name")
        people = tables["persons"].select("psn_no", "certno", social_id=pl.format("SB{}", c("psn_no").str.slice(3)))
        claims = (
            in_yuan("claims", tables["claims"])
            .join(sites, on="fixmedins_code", maintain_order="left")
            .join(people, on="psn_no", maintain_order="left")
            .join(_wide(tables["diagnoses"]), on="setl_id", how="left", maintain_order="left")
            .sort("setl_time", "setl_id")
        )
        stay = c("visit_kind").is_in(STAYS)
        of_claim = claims.select(OF_CLAIM)
        lines = in_yuan("fee_lines", tables["fee_lines"]).join(of_claim, on="setl_id", maintain_order="left")
        lines = lines.sort("setl_time", "setl_id", "feedetl_sn")
        operations = _operations(self.world, tables["procedures"], of_claim)
        stays = claims.filter(stay)
        self._write("SETTLE_ZY", form.SETTLE_ZY, stays)
        self._write("SETTLE_ZY_DIAGNOSIS", form.SETTLE_ZY_DIAGNOSIS, stays, WIDE)
        self._write("SETTLE_MZ", form.SETTLE_MZ, claims.filter(~stay))
        self._write("MDCS_FUND_SETL_LIST_OPRN_D", form.MDCS_FUND_SETL_LIST_OPRN_D, operations)
        names = [
            self._numbered("SETTLE_ZY_DETAIL", form.SETTLE_ZY_DETAIL, lines.filter(stay)),
            self._numbered("SETTLE_MZ_DETAIL", form.SETTLE_MZ_DETAIL, lines.filter(~stay)),
        ]
        truth = tables["truth"].join(pl.concat(names), on="feedetl_sn", how="left", maintain_order="left")
        return truth.with_columns(c("place").alias("feedetl_sn")).drop("place")

    def close(self, stock: dict[str, pl.DataFrame]) -> None:
        """Writes the five files about stores."""
        sites = self.world.institutions.select("fixmedins_code", "fixmedins_name")
        listed = self.world.catalogue.select("med_list_codg", small=c("micro").cast(pl.Decimal(38, 6)) / 10**6)
        items = (
            stock["store_items"]
            .join(sites, on="fixmedins_code", maintain_order="left")
            .join(listed, on="med_list_codg", maintain_order="left")
        )
        key = ["fixmedins_code", "item_store_id"]
        told = items.select(
            *key, "fixmedins_name", "item_name", "spec", "min_unit", "mcs_type", "highval_flag", package="unit"
        )
        moves = stock["stock_moves"].join(told, on=key, maintain_order="left")
        lots = moves.select(*key, "manu_lotnum", "supplier").unique(key, keep="first", maintain_order=True)
        balances = (
            stock["stock_balances"].join(items, on=key, maintain_order="left").join(lots, on=key, maintain_order="left")
        )
        self._write("HIS_VS_YB_STORE_MAPPING", form.HIS_VS_YB_STORE_MAPPING, items)
        self._write("HIS_VS_YB_STORE", form.HIS_VS_YB_STORE, balances)
        self._write("HIS_VS_YB_INVENTORY", form.HIS_VS_YB_INVENTORY, moves.filter(c("move_type") == "purchase"))
        self._write("HIS_VS_YB_DELIVER", form.HIS_VS_YB_DELIVER, moves.filter(c("move_type") == "delivery"))
        self._write("CONVERT_UNIT", form.CONVERT_UNIT, items)

    def _numbered(self, name: str, columns: dict[str, pl.Expr], lines: pl.DataFrame) -> pl.DataFrame:
        """Writes lines; answers where each now stands: feedetl_sn, place."""
        first = self.rows.get(name, 0) + 2  # the header is line 1
        self._write(name, columns, lines)
        number = pl.int_range(first, first + lines.height)
        return lines.select("feedetl_sn", pl.concat_str(pl.lit(f"{name}:"), number).alias("place"))

    def _write(self, name: str, columns: dict[str, pl.Expr], frame: pl.DataFrame, separator: str = ",") -> None:
        rows = frame.select(expression.alias(column) for column, expression in columns.items())
        header = name not in self.rows
        with (self.out / f"{name}.csv").open("ab") as file:
            if separator == ",":
                rows.write_csv(file, include_header=header, datetime_format="%Y-%m-%d %H:%M:%S")
            else:
                text = rows.select(pl.concat_str(pl.all().cast(pl.String).fill_null(""), separator=separator))
                head = [separator.join(columns)] if header else []
                file.write("".join(f"{line}\n" for line in head + text.to_series().to_list()).encode())
        self.rows[name] = self.rows.get(name, 0) + rows.height


def _wide(diagnoses: pl.DataFrame) -> pl.DataFrame:
    """One row for each claim: code_1, name_1 … in order."""
    lists = diagnoses.sort("setl_id", "seq").group_by("setl_id", maintain_order=True).agg("diag_code", "diag_name")
    return lists.select(
        "setl_id",
        *(
            c(source).list.get(n, null_on_oob=True).alias(f"{name}_{n + 1}")
            for n in range(OTHERS + 1)
            for source, name in (("diag_code", "code"), ("diag_name", "name"))
        ),
    )


def _operations(world: World, procedures: pl.DataFrame, of_claim: pl.DataFrame) -> pl.DataFrame:
    """The procedures with the names of both doctors and what the form repeats of the stay."""
    rows = procedures.join(of_claim, on="setl_id", maintain_order="left")
    for who in ("oper_dr", "anst_dr"):
        names = world.doctors.select(c("doctor_code").alias(f"{who}_code"), c("doctor_name").alias(f"{who}_name"))
        rows = rows.join(names, on=f"{who}_code", how="left", maintain_order="left")
    return rows

"""One self-contained offline page: everything escaped, nothing fetched, only our own style and script may run."""

import base64
import hashlib
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from engine.reference.knowledge import shapes
from engine.report import charts, figures, words
from engine.report.evidence import evidence_of
from engine.report.figures import Run
from engine.report.lives import coverage_of, lives_of, networks_of
from engine.report.text import clip, visible, yuan
from engine.tables.dictionary import tables
from engine.tables.outputs import output_fields
from engine.tables.reasons import NOTED

SIZE_LIMIT = 5_000_000
ASSETS = Path(__file__).parent / "assets"
_SHOWN = (400, 150, 50, 15, 5)  # findings in full; other lists shrink with it until the page fits
_EVIDENCE_ROWS = 6
_SAMPLE = 5


def page(run: Run) -> bytes:
    """The report as UTF-8, below SIZE_LIMIT: what does not fit is left out and counted, saying where it stands."""
    for shown in _SHOWN:
        html = _render(run, shown).encode()
        if len(html) < SIZE_LIMIT:
            return html
    return html


@cache
def environment() -> Environment:
    """Where the pages are rendered: everything escaped and visible, nothing undefined passed over."""
    env = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(yuan=yuan, clip=clip, word=_word, count=_count, plain=_plain, labelled=_labelled,
                       tenths=_tenths)  # fmt: skip
    return env


def _render(run: Run, shown: int) -> str:
    style, script = ((ASSETS / name).read_text("utf-8") for name in ("report.css", "report.js"))
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            run=run,
            words=words,
            style=Markup(style),
            script=Markup(script),
            style_hash=_hash(style),
            script_hash=_hash(script),
            **_trust(run),
            **_money(run, shown),
            **_rules(run, shown),
            **_findings(run, shown),
            nets=networks_of(run, shown),
            scans=coverage_of(run, shown),
            **_rest(run, shown),
        )
    )


def _shown(value):
    """Every value put into the page passes here: hidden characters become visible; escaping follows."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _word(code, table: dict) -> str:
    return table.get(code, code)


def _plain(value) -> str:
    """A quantity without trailing zeros, a date in ISO; None is a dash."""
    if value is None or value == "":
        return "—"
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return value.isoformat() if isinstance(value, date) else str(value)


def _tenths(rate: int) -> str:
    """Tenths of a percent: 987 is 98.7%."""
    return f"{rate // 10}.{rate % 10}%"


def _count(number: int | None) -> str:
    return "—" if number is None else f"{number:,}"


def _labelled(name: str) -> str:
    """The Chinese label of a control total, named after a column of the settlement, or findings_ and one of theirs."""
    fields = output_fields()
    known = {column: f"结算 · {field.label}" for column, field in fields["settlement"].items()}
    known |= {f"findings_{column}": f"全部疑点 · {field.label}" for column, field in fields["findings"].items()}
    return (known | {"due_fen": "追回 · 应追回"}).get(name, name)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _trust(run: Run) -> dict:
    checks = run.scan("checks").sort("check_id").collect().to_dicts()
    official = [c for c in checks if c["check_id"].startswith("V")]
    return {
        "official": official,
        "identities": [c for c in checks if c["check_id"][0] not in "VGP"],
        "by_item": [c for c in checks if c["check_id"].startswith("P")],
        "coding": [c for c in checks if c["check_id"].startswith("G")],
        "verdicts": {v: sum(c["verdict"] == v for c in official) for v in words.VERDICT},
        "inputs": sorted(run.manifest.get("inputs", []), key=lambda i: str(i.get("path", ""))),
        "ties": figures.tie_outs(run, figures.recovery_levels(run)),
        "control_totals": figures.flat(run.manifest.get("control_totals", {})),
        "flat": figures.flat,
    }


def _money(run: Run, shown: int) -> dict:
    levels = figures.net_level(figures.recovery_levels(run))
    gross = figures.totals(run.counted)
    net = figures.ladder(levels) if len(levels) else None
    by_result = figures.summed(run.counted, "result").sort("result", descending=True).to_dicts()
    states = (
        run.findings.select(
            pl.len().alias("all"),
            pl.col("counts").sum(),
            trial=(pl.col("rule_status") == "trial").sum(),
            waived=pl.col("waived").sum(),
            superseded=(pl.col("counts") & pl.col("superseded_by").is_not_null()).sum(),
        )
        .collect()
        .row(0, named=True)
    )
    return {
        "gross": gross,
        "net": net,
        "steps": charts.waterfall(gross, net),
        "by_result": by_result,
        "states": states,
        "by_fund": levels.group_by("fund").agg(pl.col(figures.STEPS).sum()).sort("fund").to_dicts(),
        **{
            f"top_{name}": _top(run, key, 10 if name != "institutions" else max(10, shown // 4))
            for name, key in (
                ("institutions", "fixmedins_code"),
                ("families", "family"),
                ("rules", "rule_id"),
                ("items", "med_list_codg"),
                ("departments", "department"),
            )
        },
    }


def _top(run: Run, key: str, limit: int) -> dict:
    """The largest groups by what is due, or by what is involved where nothing was recovered."""
    rows = figures.summed(run.counted.filter(pl.col(key).is_not_null()), key)
    measure = "due_fen" if rows["due_fen"].sum() > 0 else "gross_fen"
    rows = rows.sort(measure, key, descending=[True, False])
    drawn = charts.pareto(rows.head(limit).to_dicts(), measure, rows[measure].sum())
    return {"rows": drawn, "of": len(rows), "measure": measure, "key": key}


def _rules(run: Run, shown: int) -> dict:
    unwaived = run.findings.filter(~pl.col("waived"))
    found = {row["rule_id"]: row for row in figures.summed(unwaived, "rule_id").to_dicts()}
    samples = (
        figures.ranked(unwaived).group_by("rule_id", maintain_order=True).head(_SAMPLE if shown > 50 else 1).collect()
    )
    gaps = figures.not_evaluated(run).partition_by("rule_id", as_dict=True, maintain_order=True)
    open_ = figures.open_explanations(run).partition_by("rule_id", as_dict=True, maintain_order=True)
    sampled = samples.partition_by("rule_id", as_dict=True, maintain_order=True)

    def rows(parts, rule_id):
        return parts[rule_id,].to_dicts() if (rule_id,) in parts else []

    infos = sorted({*run.rules, *found, *(key[0] for key in gaps)}, key=lambda r: run.rule(r).order)
    all_rules = [
        {
            "info": run.rule(r),
            "found": found.get(r),
            "gaps": rows(gaps, r),
            "open": rows(open_, r)[:_SAMPLE],
            "sample": rows(sampled, r),
        }
        for r in infos
    ]
    overlaps = figures.overlaps(run)
    return {"all_rules": all_rules, "overlaps": overlaps.head(12).to_dicts(), "overlaps_of": len(overlaps)}


def _findings(run: Run, shown: int) -> dict:
    every = run.findings.filter(~pl.col("waived"))
    cards = figures.ranked(every).head(shown).collect().to_dicts()
    evidence = evidence_of(run, [c["finding_id"] for c in cards])
    parts = evidence.partition_by("finding_id", "role", as_dict=True, maintain_order=True)
    lives = lives_of(run, [c["finding_id"] for c in cards], shown)
    for card in cards:
        card["lives"] = lives.get(card["finding_id"], {"codes": [], "left_out": 0})
        card["evidence"] = {role: _side(parts.get((card["finding_id"], role))) for role in words.ROLE}
    labels = {name: table.label for name, table in (tables() | shapes()).items()}
    spared = figures.ranked(run.findings.filter("waived")).collect()
    return {
        "cards": cards, "cards_of": every.select(pl.len()).collect().item(), "table_labels": labels,
        "any_lives": bool(lives),
        "waived": spared.head(shown).to_dicts(), "waived_of": len(spared),
    }  # fmt: skip


def _side(rows: pl.DataFrame | None) -> dict:
    return {"rows": [], "of": 0} if rows is None else {"rows": rows.head(_EVIDENCE_ROWS).to_dicts(), "of": len(rows)}


def _rest(run: Run, shown: int) -> dict:
    rejected, payments = figures.rejected(run), run.scan("provider_payment").collect()
    gaps = figures.not_evaluated(run)
    by_reason = (
        gaps.group_by("reason")
        .agg(pl.col("rule_id").n_unique(), pl.col("cases", "amount_fen").sum())
        .sort("amount_fen", "reason", descending=[True, False])
    )
    return {
        "gaps": gaps.head(shown * 2).to_dicts(),
        "gaps_of": len(gaps),
        "gaps_by_reason": by_reason.to_dicts(),
        "rejected": rejected.head(shown).to_dicts(),
        "rejected_of": len(rejected),
        "reject_sample": (
            run.scan("rejects").sort("file", "line", "column", "code", "raw").head(20).collect().to_dicts()
        ),
        "differences": figures.settlement_differences(run).to_dicts(),
        "amount_labels": {name: field.label for name, field in output_fields()["settlement"].items()},
        "first_differences": figures.first_differences(run).head(shown).to_dicts(),
        "grouped": figures.drg_summary(run, "scheme", "status").to_dicts(),
        "top_drgs": figures.drg_summary(run, "drg").head(20).to_dicts(),
        "payments": payments.sort("fixmedins_code", "month", "method").head(shown).to_dicts(),
        "payments_of": len(payments),
        "payment_sums": payments.select(pl.col("payable_fen", "prepaid_fen", "cleared_fen").sum()).to_dicts()[0],
        "parameters": figures.flat(run.manifest.get("parameters", {}))[: shown * 2],
        "hashes": [*((k["file"], k["sha256"]) for k in run.manifest.get("knowledge", [])), *run.tables_hashed],
        "noted": sorted(run.manifest.get("warnings", []), key=lambda w: (w["file"], w["code"]))[:shown],
        "noted_words": NOTED,
    }

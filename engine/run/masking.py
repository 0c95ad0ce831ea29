"""Persons and doctors under pseudonyms: keyed HMAC, the key in a file apart from every output."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

import polars as pl

from engine.tables.problems import ResourceProblem

KEY_FILE = "YIBAO_KEY_FILE"
PERSONAL = {"psn_no": "P", "person": "P", "first_person": "P", "doctor": "D"}  # words of conditions -> prefix


def key_path() -> Path:
    return Path(os.environ.get(KEY_FILE, Path.home() / ".config" / "yibao" / "pseudonym.key"))


def read_key() -> bytes:
    """The key of this machine's user, made on first use, so that two runs name one person alike."""
    path = key_path()
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(32))
        return bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise ResourceProblem(f"无法读写化名密钥 {error}", str(path), hint=f"设置环境变量 {KEY_FILE}") from None


def pseudonyms(values: pl.Series, prefix: str, key: bytes) -> pl.DataFrame:
    """Distinct values and their pseudonyms: (value, masked)."""
    distinct = values.drop_nulls().unique().sort()
    masked = [_pseudonym(v, prefix, key) for v in distinct]
    return pl.DataFrame({"value": distinct, "masked": masked}, schema={"value": pl.String, "masked": pl.String})


def _pseudonym(value: str, prefix: str, key: bytes) -> str:
    return f"{prefix}{hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:16]}"


def hidden(word: str, value: str, key: bytes) -> str:
    """What a condition read under a word, as a reader may see it: persons and doctors under pseudonyms."""
    return _pseudonym(value, PERSONAL[word], key) if word in PERSONAL and value else value


def masked(frame: pl.DataFrame, columns: dict[str, str], key: bytes) -> pl.DataFrame:
    """The frame with the columns (name -> prefix) under pseudonyms; where `scope_key` begins with one, there too."""
    for column, prefix in columns.items():
        names = pseudonyms(frame[column], prefix, key)
        frame = frame.join(names, left_on=column, right_on="value", how="left", maintain_order="left")
        if "scope_key" in frame.columns:
            first = pl.col("scope_key").str.split("|").list.first()
            rest = pl.col("scope_key").str.slice(pl.col(column).str.len_chars())
            named = pl.when(first == pl.col(column)).then(pl.col("masked") + rest)
            frame = frame.with_columns(scope_key=named.otherwise("scope_key"))
        frame = frame.with_columns(pl.col("masked").alias(column)).drop("masked")
    return frame


def masked_buyers(findings: pl.DataFrame, key: bytes) -> pl.DataFrame:
    """Findings about first buyers with the buyer under a pseudonym: `psn_no` of these is who bought last."""
    buyer = pl.col("scope") == "buyer"
    names = pseudonyms(findings.filter(buyer)["scope_key"], "P", key)
    named = findings.join(names, left_on="scope_key", right_on="value", how="left", maintain_order="left")
    shown = pl.when(buyer).then("masked").otherwise("scope_key")
    return named.with_columns(scope_key=shown).drop("masked")


def masked_values(values: pl.DataFrame, key: bytes) -> pl.DataFrame:
    """The values of findings with those that name a person or a doctor under the same pseudonyms."""
    for kind, prefix in (("person", "P"), ("doctor", "D")):
        told = pl.col("kind") == kind
        names = pseudonyms(values.filter(told)["value"], prefix, key)
        values = values.join(names, on="value", how="left", maintain_order="left")
        values = values.with_columns(value=pl.when(told).then("masked").otherwise("value")).drop("masked")
    return values

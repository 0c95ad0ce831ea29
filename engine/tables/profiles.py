"""Input profiles: which file is which table, and how its columns become canonical fields. A profile is data, not code.

The YAML files under profiles/ say how a mapping is written; a user's own profile is given as a path to such a file.
"""

import difflib
import re
import unicodedata
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import yaml

from engine.tables import dictionary
from engine.tables.problems import InputProblem, UsageProblem

FOLDER = Path(__file__).parent / "profiles"


@dataclass(frozen=True)
class FileMap:
    """How one file of a profile is read. `tables` lists (canonical table, mapping), the file's own table first."""

    name: str
    label: str
    tables: list[tuple[str, dict]]
    required: list[str]
    required_when: dict[str, list[str]] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)
    role: str = ""  # main, detail: the two sides of the official checks
    part: str = "all"
    key: list[str] = field(default_factory=list)
    keyspace: str = ""
    repeats: bool = False  # rows with the same key and different content are all kept
    claim: str = ""  # the column that names the claim a row belongs to

    @cached_property
    def columns(self) -> list[str]:
        """Every column the profile knows: required, mapped, or only named as known."""
        mapped = [c for _, m in self.tables for n, spec in m.items() if n not in WORDS for c in source_columns(spec, m)]
        listed = [*self.required, *(c for cs in self.required_when.values() for c in cs), *mapped, *self.known]
        return list(dict.fromkeys(listed))


@dataclass(frozen=True)
class Profile:
    name: str
    label: str
    files: dict[str, FileMap]
    conditions: dict[str, dict[str, str]]
    combine: dict[str, dict[str, str]]
    values: dict[str, dict[str, str]]
    part_label: dict[str, str]
    same_names: bool = False


def names() -> list[str]:
    return sorted(p.stem for p in FOLDER.glob("*.yaml"))


def load(name: str) -> Profile:
    """The profile of that name, or in the YAML file of that path."""
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        near = difflib.get_close_matches(name, names(), 1)
        raise UsageProblem("没有这个输入格式", name, "、".join(names()), f"是否为 {near[0]}？" if near else "")
    try:
        raw = yaml.load(path.read_text("utf-8"), yaml.BaseLoader)
        files = _same_names(raw) if raw.get("same_names") else {n: _file(n, body) for n, body in raw["files"].items()}
        return Profile(
            raw["name"], raw["label"], files,
            {c: dict(when) for c, when in raw.get("conditions", {}).items()},
            raw.get("combine", {}), raw.get("values", {}), raw.get("part_label", {}),
            same_names=bool(raw.get("same_names")),
        )  # fmt: skip
    except (yaml.YAMLError, KeyError, AttributeError, TypeError) as error:
        raise InputProblem(f"输入格式文件有误：{error}", str(path), "见 profiles 文件夹内的示例") from error


def _file(name: str, body: dict) -> FileMap:
    tables = []
    for table, mapping in body["tables"].items():
        tables += [(table, _filled(name, table, one)) for one in (mapping if isinstance(mapping, list) else [mapping])]
    return FileMap(
        name, body.get("label", name), tables,
        required=body.get("required", "").split(),
        required_when={c: cols.split() for c, cols in body.get("required_when", {}).items()},
        known=body.get("known", "").split(),
        role=body.get("role", ""), part=body.get("part", "all"), key=body.get("key", "").split(),
        keyspace=body.get("keyspace", name), repeats=bool(body.get("repeats")), claim=body.get("claim", ""),
    )  # fmt: skip


WORDS = {"each", "split", "number", "need"}  # of a mapping, not fields


def _filled(file: str, table: str, mapping: dict) -> dict:
    """The mapping, checked against the dictionary; with `same`, every other field under its own name."""
    mapping = dict(mapping)
    same = mapping.pop("same", None)
    _check_fields(file, table, mapping)
    return {name: name for name in dictionary.table(table).fields} | mapping if same else mapping


def _check_fields(file: str, table: str, mapping: dict) -> None:
    if table not in dictionary.tables():
        raise InputProblem(f"数据字典没有表 {table}", file)
    fields = dictionary.table(table).fields
    for name in mapping:
        if name not in fields and name not in WORDS and not name.startswith("_"):
            near = difflib.get_close_matches(name, fields, 1)
            raise InputProblem(f"表 {table} 没有字段 {name}", file, hint=f"是否为 {near[0]}？" if near else "")


def _same_names(raw: dict) -> dict[str, FileMap]:
    """One file per table of the dictionary, every field under its own name."""
    may_lack = set(raw.get("may_lack", "").split())
    files = {}
    for table in dictionary.tables().values():
        required = [f.name for f in table.fields.values() if f.required and f"{table.name}.{f.name}" not in may_lack]
        mapping = {name: name for name in table.fields}
        if table.name == "claims":
            mapping |= {"_bill_date": "setl_time"}
        belongs = table.name in ("fee_lines", "diagnoses", "procedures")
        files[table.name] = FileMap(
            table.name, table.label, [(table.name, mapping)], required, known=[n for n in mapping if n not in required],
            role={"claims": "main", "fee_lines": "detail"}.get(table.name, ""),
            key=table.key, keyspace=table.name, claim="setl_id" if belongs else "",
        )  # fmt: skip
    return files


def targets(file: FileMap) -> dict[str, dictionary.Field]:
    """Source column -> the canonical field it first feeds, unchanged or mapped."""
    result = {}
    for table, mapping in file.tables:
        for name, spec in mapping.items():
            if name in WORDS or name.startswith("_"):
                continue
            for column in source_columns(spec, mapping):
                result.setdefault(column, dictionary.table(table).fields[name])
    return result


def source_columns(spec: str | dict, mapping: dict | None = None) -> list[str]:
    """The source columns a field is made of; with a mapping that repeats itself, those of every repetition."""
    if isinstance(spec, str):
        found = [] if spec.startswith("=") else [spec]
    else:
        listed = f"{spec.get('calc', '')} {spec.get('first', '')} {spec.get('join', '')}".split()
        found = [t for t in listed if re.fullmatch(r"[^\W\d][\w{}]*", t)] + list(spec.get("when", {}))
        found += [spec["from"]] if "from" in spec else []
    if mapping and "each" in mapping:
        return [c.format(n=n) for c in found for n in counted(mapping)]
    return found


def counted(mapping: dict) -> range:
    """The numbers of `each: 1..15`."""
    low, high = mapping["each"].split("..")
    return range(int(low), int(high) + 1)


def plain(name: str) -> str:
    """A header name as it is compared: half-width, no blanks, no case."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", name).replace("\ufeff", "")).casefold()


def columns(header: list[str], file: FileMap, where: str) -> dict[str, str]:
    """Header name -> the profile's column name, for the known ones. Raises InputProblem for twins and missing ones."""
    seen = {}
    for name in header:
        if plain(name) in seen and plain(name):
            raise InputProblem(f"表头重复：{name}", where, hint="同名列无法区分，请删去或改名")
        seen[plain(name)] = name
    found = {seen[plain(c)]: c for c in file.columns if plain(c) in seen}
    missing = [c for c in file.required if c not in found.values()]
    if missing:
        spare = [n for n in header if n not in found]
        near = difflib.get_close_matches(plain(missing[0]), [plain(s) for s in spare], 1, 0.6)
        hint = f"{missing[0]} 是否写成了 {seen[near[0]]}？" if near else f"应有表头：{'，'.join(file.required[:40])}"
        raise InputProblem(f"缺少必需列：{'，'.join(missing[:10])}", where, hint=hint)
    return found


def choose(wanted: str, headers: dict[str, list[str]]) -> tuple[Profile, dict[str, str]]:
    """The profile (`auto`: the one that recognises most files) and which of its files each input is.

    `headers` maps a file's shown name to its header. Raises InputProblem when no file is recognised.
    """
    candidates = [load(wanted)] if wanted != "auto" else [load(n) for n in names()]
    best = max(candidates, key=lambda p: (len(recognise(p, headers)), len(_by_name(p, list(headers)))))
    matched = recognise(best, headers)
    if not matched:
        raise InputProblem(
            "没有认出任何输入文件", ", ".join(list(headers)[:5]), "、".join(names()), _nearest(candidates, headers)
        )
    return best, matched


def recognise(profile: Profile, headers: dict[str, list[str]]) -> dict[str, str]:
    """Input name -> file of the profile: by file name, else by header where no other input took that table by name."""
    by_name = _by_name(profile, list(headers))
    taken = set(by_name.values())
    rest = {s: _by_header(profile, header, taken) for s, header in headers.items() if s not in by_name}
    return by_name | {s: name for s, name in rest.items() if name}


def _by_name(profile: Profile, inputs: list[str]) -> dict[str, str]:
    """A file is named as the table or its label, perhaps with a number behind."""
    found = {}
    for shown in inputs:
        stem = plain(shown.rsplit("/", 1)[-1].split(".")[0])
        for name, file in profile.files.items():
            if re.fullmatch(rf"(?:{re.escape(plain(name))}|{re.escape(plain(file.label))})(?:[-_.]?\d+)*", stem):
                found[shown] = name
    return found


def _by_header(profile: Profile, header: list[str], taken: set[str]) -> str | None:
    scores = {n: _likeness(f, header) for n, f in profile.files.items() if n not in taken}
    best = max(scores, key=lambda n: scores[n], default=None)
    return best if best and scores[best] >= 1.5 else None


def _likeness(file: FileMap, header: list[str]) -> float:
    """Share of the required columns that are there plus share of the header that is known: 0 to 2."""
    have = {plain(h) for h in header}
    known = {plain(c) for c in file.columns}
    required = {plain(c) for c in file.required}
    if len(required) < 2:
        return 0.0
    return len(required & have) / len(required) + len(known & have) / max(len(have), 1)


def _nearest(candidates: list[Profile], headers: dict[str, list[str]]) -> str:
    ranked = [(_likeness(f, h), s, p, f) for p in candidates for f in p.files.values() for s, h in headers.items()]
    score, shown, profile, file = max(ranked, key=lambda r: r[0], default=(0, "", None, None))
    if not score:
        return "第一行应为表头；自有格式可另写一个 YAML 映射文件"
    return f"{shown} 最像 {profile.name} 的 {file.name}（{file.label}），其表头应为 {'，'.join(file.required[:12])} …"

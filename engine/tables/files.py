"""What lies in the input folder: every file found, its real type, encoding, delimiter and line ends decided.

Each text file ends up as plain UTF-8 with LF or CRLF line ends: as it is, or as a converted copy under the work folder,
so that what comes after knows one form only. Nothing is guessed silently: `decisions` says what was decided.
"""

import codecs
import gzip
import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from engine.tables.problems import InputProblem

BLOCK = 4 << 20
DELIMITERS = ("|@|", "\t", ",", ";", "^")
TEXT, SHEET, PARQUET = (".csv", ".txt", ".tsv"), (".xlsx",), (".parquet",)
KNOWN = TEXT + SHEET + PARQUET + (".gz", ".zip")
MAX_RATIO, MAX_MEMBERS = 200, 10_000
FOREIGN = ((b"PK\x03\x04", "xlsx/zip"), (b"\xd0\xcf\x11\xe0", "xls"), (b"PAR1", "parquet"), (b"\x1f\x8b", "gzip"))


@dataclass
class Source:
    """One input file: `name` as shown to the user, `text` the readable form, `kind` one of text, sheet, parquet."""

    name: str
    text: Path
    kind: str
    sha256: str
    decisions: dict = field(default_factory=dict)

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).name.split(".")[0]


def sources(path: Path, work: Path) -> list[Source]:
    """All readable input files under `path` (a folder, a zip or one file), in name order.

    Raises InputProblem for an unreadable or dangerous file and for the same content under two names.
    """
    path, work = Path(path), Path(work)
    if not path.exists():
        raise InputProblem("没有这个文件或文件夹", str(path))
    found = sorted(p for p in path.rglob("*") if p.is_file() and work not in p.parents) if path.is_dir() else [path]
    root = path if path.is_dir() else path.parent
    result = []
    for file in found:
        name = file.relative_to(root).as_posix()
        if file.suffix.lower() not in KNOWN or any(part.startswith(".") for part in PurePosixPath(name).parts):
            continue
        if file.suffix.lower() == ".zip":
            result += [_source(inner, f"{name}/{member}", work) for member, inner in _unzip(file, name, work)]
        else:
            result.append(_source(file, name, work))
    _refuse_twins(result)
    return result


def _refuse_twins(found: list[Source]) -> None:
    first = {}
    for source in found:
        if twin := first.get(source.sha256):
            raise InputProblem("两个文件内容完全相同", source.name, hint=f"与 {twin} 相同，请删去其一")
        first[source.sha256] = source.name


def _source(file: Path, name: str, work: Path) -> Source:
    packed = file.suffix.lower() == ".gz"
    suffix = Path(file.stem).suffix.lower() if packed else file.suffix.lower()
    head = _head(file, name, packed)
    if not head:
        raise InputProblem("空文件", name, hint="至少应有一行表头")
    decisions = {"compression": "gzip"} if packed else {}
    if suffix in PARQUET + SHEET:
        kind = "parquet" if suffix in PARQUET else "sheet"
        text = _copy(_blocks(file, name, packed), work, name) if packed else file
        return Source(name, text, kind, _digest(file), decisions | {"format": suffix[1:]})
    _refuse_foreign(head, name)
    decisions["encoding"] = encoding = _encoding(file, name, packed, head)
    decisions["line_end"] = line_end = _line_end(head.decode(_codec(encoding), "ignore"))
    text = file
    if packed or encoding not in ("utf-8", "utf-8-sig") or line_end == "CR":
        text = _copy(_as_utf8(_blocks(file, name, packed), encoding, line_end == "CR"), work, name)
    return Source(name, text, "text", _digest(file), decisions)


def _head(file: Path, name: str, packed: bool) -> bytes:
    return next(_blocks(file, name, packed), b"")


def _blocks(file: Path, name: str, packed: bool) -> Iterator[bytes]:
    """The bytes of a file, unpacked if need be; a broken or absurdly compressible archive is refused."""
    size = max(file.stat().st_size, 1)
    opener = gzip.open if packed else open
    read = 0
    try:
        with opener(file, "rb") as stream:
            while block := stream.read(BLOCK):
                read += len(block)
                if packed and read > (100 << 10) and read / size > MAX_RATIO:
                    raise InputProblem(f"压缩比超过 {MAX_RATIO}，疑为压缩炸弹", name)
                yield block
    except (EOFError, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise InputProblem("压缩文件不完整或已损坏", name, hint="请重新传输") from error


def _digest(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _refuse_foreign(head: bytes, name: str) -> None:
    kind = next((kind for magic, kind in FOREIGN if head.startswith(magic)), None)
    if kind is None and head.lstrip(b"\xef\xbb\xbf \r\n\t")[:512].lower().startswith(
        (b"<html", b"<!doctype", b"<table", b"<?xml")
    ):
        kind = "html/xml"
    if kind:
        raise InputProblem(f"名为文本文件，实为 {kind}", name, hint="请另存为 CSV(UTF-8)，或改用正确的扩展名")


def _codec(encoding: str) -> str:
    return "utf-8" if encoding == "utf-8-sig" else encoding


def _encoding(file: Path, name: str, packed: bool, head: bytes) -> str:
    """The encoding of the whole file, strictly: UTF-8 first, since UTF-8 Chinese often passes for GB18030."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head[:4096].count(0) > len(head[:4096]) // 4:
        raise InputProblem("像是没有 BOM 的 UTF-16", name, hint="请另存为 CSV(UTF-8)")
    furthest = None
    for encoding in ("utf-8", "gb18030"):
        broken = _first_bad_byte(_blocks(file, name, packed), encoding)
        if broken is None:
            return "utf-8-sig" if encoding == "utf-8" and head.startswith(codecs.BOM_UTF8) else encoding
        furthest = max(furthest or broken, broken, key=lambda place: place[0])
    offset, line = furthest
    raise InputProblem(
        f"编码混杂或损坏：第 {line} 行、第 {offset} 字节起既非 UTF-8 也非 GB18030",
        name,
        "UTF-8、GB18030、带 BOM 的 UTF-16",
    )


def _first_bad_byte(blocks: Iterator[bytes], encoding: str) -> tuple[int, int] | None:
    """(byte offset, line) where strict decoding fails, or None. A character cut by the block end is carried over."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    offset, line, pending = 0, 1, 0
    for block in blocks:
        try:
            decoder.decode(block)
        except UnicodeDecodeError as error:
            place = max(0, error.start - pending)
            return offset + place, line + block[:place].count(b"\n")
        pending = len(decoder.getstate()[0])
        offset, line = offset + len(block), line + block.count(b"\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return offset, line
    return None


def _line_end(head: str) -> str:
    if "\n" not in head:
        return "CR" if "\r" in head else "LF"
    return "CRLF" if "\r\n" in head else "LF"


def _as_utf8(blocks: Iterator[bytes], encoding: str, carriage: bool) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(_codec(encoding))("strict")
    for block in blocks:
        text = decoder.decode(block)
        yield (text.replace("\r", "\n") if carriage else text).encode()
    yield decoder.decode(b"", final=True).encode()


def _copy(blocks: Iterator[bytes], work: Path, name: str) -> Path:
    folder = work / "plain"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (hashlib.sha256(name.encode()).hexdigest()[:16] + Path(name.removesuffix(".gz")).suffix)
    with open(target, "wb") as out:
        for block in blocks:
            out.write(block)
    return target


def _unzip(file: Path, name: str, work: Path) -> list[tuple[str, Path]]:
    """The members of an archive, checked before anything is written."""
    if not zipfile.is_zipfile(file):
        raise InputProblem("不是有效的 zip 文件", name)
    with zipfile.ZipFile(file) as archive:
        members = [m for m in archive.infolist() if not m.is_dir()]
        _refuse_dangerous(members, name)
        folder = work / "unzipped" / hashlib.sha256(name.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        result = []
        for number, member in enumerate(sorted(members, key=lambda m: m.filename)):
            inner = _member_name(member)
            suffixes = "".join(Path(inner).suffixes[-2:]).lower()
            if not suffixes.endswith(KNOWN):
                continue
            target = folder / f"{number}{suffixes}"
            with archive.open(member) as stream, open(target, "wb") as out:
                while block := stream.read(BLOCK):
                    out.write(block)
            result.append((inner, target))
    return result


def _refuse_dangerous(members: list[zipfile.ZipInfo], name: str) -> None:
    if len(members) > MAX_MEMBERS:
        raise InputProblem(f"压缩包内文件超过 {MAX_MEMBERS} 个", name)
    if len({m.filename for m in members}) < len(members):
        raise InputProblem("压缩包内有同名文件", name)
    for member in members:
        inner = PurePosixPath(member.filename.replace("\\", "/"))
        where = f"{name}/{inner}"
        if inner.is_absolute() or ".." in inner.parts or ":" in inner.parts[0]:
            raise InputProblem("压缩包内路径越界", where)
        if (member.external_attr >> 16) & 0o170000 == 0o120000:
            raise InputProblem("压缩包内有符号链接", where)
        if member.flag_bits & 1:
            raise InputProblem("压缩包已加密", where, hint="请解密后再交")
        if inner.suffix.lower() == ".zip":
            raise InputProblem("压缩包内还有压缩包", where, hint="请展开一层")
        if member.file_size > (100 << 10) and member.file_size > MAX_RATIO * max(member.compress_size, 1):
            raise InputProblem(f"压缩比超过 {MAX_RATIO}，疑为压缩炸弹", where)


def _member_name(member: zipfile.ZipInfo) -> str:
    """Names zipped on Chinese Windows are GBK without the UTF-8 flag, which zipfile reads as cp437."""
    if member.flag_bits & 0x800:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("gb18030")
    except UnicodeError:
        return member.filename

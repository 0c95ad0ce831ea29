"""The form of a rule file: which keys it has, what may stand behind each, and what is assumed where one is absent."""

import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Expression = str
Int = Annotated[int, BeforeValidator(lambda v: int(v) if isinstance(v, str) and v.lstrip("-").isdigit() else v)]
Day = Annotated[datetime.date, BeforeValidator(lambda v: datetime.date.fromisoformat(v) if isinstance(v, str) else v)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class InForce(Strict):
    """The days of service a rule speaks of, both included."""

    begin: Day | None = Field(None, alias="from", description="起日，含 · first day, included")
    end: Day | None = Field(None, alias="to", description="止日，含 · last day, included")


class Param(Strict):
    """A value of the rule that a region may set otherwise."""

    type: Literal["int", "decimal", "text", "list", "bool"] = Field(
        description="类型：整数、小数、文字、列表、是否 · kind of value"
    )
    default: str | list[str] = Field(description="默认值，地区参数文件可改 · default, which a region may override")
    range: list[str] | None = Field(None, description="允许的最小值和最大值，含 · least and greatest allowed, included")
    label: str = Field("", description="中文名称 · label")
    source: str = Field("", description="取值的来源 · where the value comes from")

    @property
    def form(self) -> str:
        """What a value must be, in a few words."""
        return f"{self.type} {'–'.join(self.range or ())}".strip()


class Join(Strict):
    """Rows of a dated knowledge table, matched to the case."""

    table: str = Field(description="知识表名 · name of the knowledge table")
    alias: str = Field(alias="as", description="表中一行在条件里叫什么 · what a row is called in conditions")
    keys: dict[str, str] = Field(
        {}, description="表的列: 明细的词，两者相等才对上 · column: word of the line, which must be equal"
    )
    where: Expression | None = Field(None, description="只用符合此条件的行 · only rows for which this holds")
    by: list[str] | None = Field(
        None, description="这些列相同的行合成一个案例，不写则一行一例 · rows equal in these columns make one case"
    )


class Innocent(Strict):
    """An innocent explanation, and what would prove it."""

    because: str = Field(description="合理解释 · the explanation")
    unless: Expression | None = Field(None, description="成立则放过；不成立则排除这一解释 · true spares the case")
    unknown: Expression | None = Field(
        None, description="成立则无法排除，疑点上写明；不写 unless 和 unknown 则总是无法排除 · true leaves it open"
    )


class Basis(Strict):
    """A provision the finding rests on."""

    law: str = Field(description="法规名称 · law")
    article: str = Field("", description="条款，如 38(3) · article, such as 38(3)")


class Window(Strict):
    """How long a window is, in one unit."""

    days: Int | Expression | None = Field(None, description="窗口的天数，含首尾两日 · days, both ends counted")
    hours: Int | Expression | None = Field(None, description="窗口的小时数，含首末恰好相隔这么久的 · hours")
    minutes: Int | Expression | None = Field(None, description="窗口的分钟数 · minutes")

    @model_validator(mode="after")
    def _one_unit(self):
        if len(self.model_fields_set) != 1:
            raise ValueError("a window has one of days, hours, minutes")
        return self

    @property
    def unit(self) -> str:
        return next(iter(self.model_fields_set))

    @property
    def size(self) -> int | Expression:
        return getattr(self, self.unit)


class Peers(Strict):
    """The rate by which wards or institutions are compared, and with whom."""

    of: Expression = Field(description="拿来比较的数 · the number compared")
    among: list[Expression] = Field([], description="这些值相同的才相比，不写则全部 · peers have these in common")
    where: Expression | None = Field(None, description="只算符合此条件的案例 · only cases for which this holds count")
    least: Int = Field(5, description="至少多少个才有分位数 · fewer than so many peers have no percentile")


class Rule(Strict):
    """One rule as its author wrote it. rules/README.md explains every key."""

    id: str = Field(description="规则号，等于文件名，小写字母、数字和连字符 · id, the stem of the file")
    number: Annotated[Int, Field(ge=1, le=127)] | None = Field(
        None, description="在 127 项清单中的编号，清单之外不写 · place in the list of 127"
    )
    title: str = Field(description="标题，一句话 · title")
    description: str = Field(description="错在哪里、为什么，写给审核的人看 · what is wrong and why, for an auditor")
    family: str = Field(description="类别，等于所在目录名 · family, the name of the folder")
    status: Literal["active", "trial", "retired"] = Field(
        "active", description="active 正式；trial 试运行，另列，不计金额；retired 停用 · state of the rule"
    )
    result: Literal["suspicion", "violation"] = Field(
        "suspicion", description="suspicion 可疑；violation 明确违规 · what a finding is"
    )
    violation_when: Expression | None = Field(
        None, description="疑点符合此条件时升为明确违规 · raises a finding to a violation"
    )
    basis: list[Basis] = Field(description="法律依据 · legal basis")
    sources: list[str] = Field([], description="条目的来源 · where the item comes from")
    in_force: InForce = Field(InForce(), description="适用的服务日期 · days of service the rule speaks of")
    scope: str = Field(alias="for", description="一个案例是什么 · what one case is")
    same: Literal["hour", "6h", "day", "visit", "person"] | None = Field(
        None,
        description="两条明细须同在：一小时、前后六小时、一日、一次就诊、一人；不写用表的 window 列 · window of a pair",
    )
    window: Window | None = Field(None, description="滑动窗口的长度 · length of a sliding window")
    by: list[str] = Field(
        [], description="窗口、日、月等之内再按明细的这些词分成案例 · words of lines that part the cases of a period"
    )
    join: Join | None = Field(None, description="对上知识表的行 · rows of a knowledge table")
    peers: Peers | None = Field(None, description="与同类病区、机构相比 · compared with wards or institutions alike")
    params: dict[str, Param] = Field({}, description="参数，条件里写 params.名称 · parameters, read as params.name")
    sets: dict[str, str | list[str]] = Field(
        {}, description="代码集合：concept:概念名，或代码列表 · sets of codes: concept:NAME or a list"
    )
    let: dict[str, Expression] = Field(
        {}, description="给子表达式起名，用到处照原样代入 · named parts, substituted where they are used"
    )
    known: Expression | None = Field(
        None, description="有此条件才能判断，否则该案例未评估 · a case without it is not evaluated"
    )
    when: Expression = Field(description="什么情况是疑点 · when a case is a finding")
    flag: Expression | dict[str, Expression] = Field(
        {}, description="哪些明细是证据：一个条件，或按角色 excess 超出、basis 依据、context 参考 · evidence by role"
    )
    excess: Expression | None = Field(
        None, description="多出多少：数量，amount 为 difference 时是元 · units in excess, or yuan for difference"
    )
    cut: Literal["latest", "earliest", "cheapest", "dearest"] = Field(
        "latest", description="从哪条明细截起：最晚、最早、最便宜、最贵 · which lines bear the excess first"
    )
    amount: Literal["units", "lines", "claim", "difference", "gap", "later_visit", "regroup", "record", "none"] = Field(
        "lines",
        description="金额怎么算：units 超出数量、lines 整行、claim 整单、difference 差额、gap 摊到各行的缺口、"
        "later_visit 后一次就诊、regroup 去掉存疑编码重新分组的差额、record 该条记录的金额、"
        "none 不计 · how money is counted",
    )
    message: str = Field("", description="疑点上的一句话，{表达式} 处填入值；不写用标题 · sentence of a finding")
    innocent: list[Innocent] = Field([], description="合理解释，最强的写在前 · innocent explanations, strongest first")
    supersedes: list[str] = Field([], description="同一明细上由本规则承担金额的规则 · rules whose money this carries")
    needs: list[str] = Field([], description="定案要调取的材料 · what an auditor must fetch to decide")
    tests: list[dict] = Field([], description="规则自带的测试，至少一个 hit 和一个 clear · tests of the rule")
    author: str = Field("", description="编写人 · author")
    reviewer: str = Field("", description="复核人，与编写人不同 · reviewer, who is not the author")

    @property
    def flags(self) -> dict[str, Expression]:
        """Which elements are evidence in which role; a bare `flag:` names the excess."""
        return {"excess": self.flag} if isinstance(self.flag, str) else self.flag

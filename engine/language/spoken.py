"""An expression said in Chinese, for a reader who audits: labels in place of paths, words in place of signs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rule_engine import ast

from engine.language.expression import FUNCTIONS, Setting, path_of, walk
from engine.language.form import Rule
from engine.language.vocabulary import Attribute, objects

OWNERS = {"a": "甲行", "b": "乙行", "l": "明细", "o": "该次就诊", "v": "该次住院", "d": "诊断", "p": "手术操作",
          "e": "该次销售"}  # fmt: skip
SIGNS = {"eq": "等于", "ne": "不等于", "gt": "大于", "ge": "不小于", "lt": "小于", "le": "不大于", "add": "＋",
         "sub": "－", "mul": "×", "tdiv": "÷", "fdiv": "整除", "mod": "除余", "pow": "＾",
         "eq_fzm": "开头合于", "eq_fzs": "含有合于",
         "ne_fzm": "开头不合于", "ne_fzs": "不含合于"}  # fmt: skip
PARTS = {"date": "的日期", "year": "的年份", "month": "的月份", "day": "的日", "hour": "的小时", "minute": "的分钟",
         "second": "的秒", "days": "的天数", "length": "的长度", "as_upper": "的大写",
         "as_lower": "的小写"}  # fmt: skip
OPEN = (ast.LogicExpression, ast.AddExpression, ast.SubtractExpression, ast.ArithmeticExpression,
        ast.TernaryExpression)  # fmt: skip
EXTREMES = {"sum": "之和", "min": "的最小值", "max": "的最大值"}


@dataclass
class Speaker:
    """Says the nodes of one rule's expressions; `names` are the nodes that a `let` stands for, by id."""

    rule: Rule
    setting: Setting
    names: Mapping[int, str]
    written: str  # the expression itself, quoted where no words are at hand
    elements: dict[str, str] = field(default_factory=dict)  # variable of a list gone through -> object of its elements

    def say(self, node) -> str:
        """The node in words; a named part is said by its name."""
        name = self.names.get(id(node))
        return f"「{name}」" if name else self.meaning(node)

    def meaning(self, node) -> str:
        """The node in words, a named part by what it stands for."""
        said = next((SAID[kind] for kind in type(node).__mro__ if kind in SAID), None)
        foreign = isinstance(node, ast.FunctionCallExpression) and node.function.name not in FUNCTIONS
        if said is None or foreign:
            return f"`{self.written[slice(*node.span)]}`"
        return said(self, node)

    def _inner(self, node) -> str:
        """A part of a larger whole, in brackets where its own limits would be lost."""
        said = self.say(node)
        return f"（{said}）" if isinstance(node, OPEN) and id(node) not in self.names else said

    def _literal(self, node) -> str:
        value = node.value
        if isinstance(value, bool):
            return "是" if value else "否"
        if isinstance(value, str):
            return f"“{value}”" if value else "空白"
        return "空缺" if value is None else str(value)

    def _symbol(self, node) -> str:
        if node.name in self.setting.sets:
            name, _, period = node.name.partition("@")
            source = self.rule.sets[name]
            listed = f"清单“{source.partition(':')[2]}”" if isinstance(source, str) else f"所列的{name}"
            return f"当日有效的{listed}" if period else listed
        return {"today": "本次运行之日", "now": "本次运行之时"}.get(node.name, node.name)

    def _attribute(self, node) -> str:
        path = path_of(node)
        if path and path[0] == "params":
            return f"参数“{self.rule.params[path[1]].label or path[1]}”"
        if path and (said := self._path(path)):
            return said
        if node.name == "length":
            return self._count(node.object)
        return f"{self._inner(node.object)}{PARTS.get(node.name, f'的{node.name}')}"

    def _path(self, path: list[str]) -> str:
        """Labels along a path; empty where it leads to a part of a value."""
        along = self._along(path)
        owner = OWNERS.get(path[0], "表中" if path[0] in self.setting.joined else "本例" if self.elements else "")
        if len(along) < len(path) - 1:
            return ""
        *owners, last = [owner] * bool(owner) + [attribute.label.removeprefix("是否") for attribute in along]
        truth = along and along[-1].kind == "bool"  # 该次就诊医保结算，而不说“的医保结算”
        return "的".join(owners) + ("的" if owners and not truth else "") + last

    def _along(self, path: list[str]) -> list[Attribute]:
        """The attributes a path goes through, as far as the vocabulary knows them."""
        attributes = objects()[self.elements[path[0]]] if path[0] in self.elements else self._attributes(path[0])
        found = []
        for name in path[1:]:
            if name not in attributes:
                break
            found.append(attributes[name])
            attributes = objects().get(attributes[name].kind, {})
        return found

    def _attributes(self, symbol: str) -> dict[str, Attribute]:
        return self.setting.attributes_of(symbol) if symbol in self.setting.symbols else {}

    def _logic(self, node) -> str:
        if of_dated_set(node):
            return self.say(set_test(node))
        joint = "，并且" if node.type == "and" else "，或者"
        return f"{self._side(node.left, node.type)}{joint}{self._side(node.right, node.type)}"

    def _side(self, node, joined: str) -> str:
        same = isinstance(node, ast.LogicExpression) and node.type == joined
        return self.say(node) if same else self._inner(node)

    def _unary(self, node) -> str:
        if node.type != "not":
            return f"负的{self._inner(node.right)}"
        if isinstance(node.right, ast.ContainsExpression) and id(node.right) not in self.names:
            return self._contained(node.right, "不")
        if isinstance(node.right, ast.FunctionCallExpression) and node.right.function.name == "begins":
            return self._begun(node.right, "没有")
        return f"并非{self._inner(node.right)}"

    def _compared(self, node) -> str:
        for one, other in ((node.left, node.right), (node.right, node.left)):
            if isinstance(other, ast.NullExpression):
                return f"{self._inner(one)}{'缺失' if node.type == 'eq' else '有记载'}"
            if isinstance(other, ast.StringExpression) and not other.value:
                return f"{self._inner(one)}{'为空白' if node.type == 'eq' else '不为空白'}"
        left, right = (self._inner(n) if isinstance(n, ast.LogicExpression | ast.TernaryExpression) else self.say(n)
                       for n in (node.left, node.right))  # fmt: skip
        return f"{left}{SIGNS[node.type]}{right}"

    def _calculated(self, node) -> str:
        return f"{self._inner(node.left)}{SIGNS[node.type]}{self._inner(node.right)}"

    def _contained(self, node, negated: str = "") -> str:
        if self._is_list(node.container):
            return f"{self._inner(node.member)}{negated}属于{self.say(node.container)}"
        return f"{self._inner(node.container)}{negated}含有{self._inner(node.member)}"

    def _is_list(self, node) -> bool:
        """Does the node hold several values, and not one text?"""
        path = path_of(node)
        if not path:
            return isinstance(node, ast.ArrayExpression | ast.SetExpression)
        along = self._along(path)
        return path[0] == "params" or path[0] in self.setting.sets or bool(along) and along[-1].kind == "texts"

    def _coalesced(self, node) -> str:
        return f"{self._inner(node.left)}（缺失时取{self._inner(node.right)}）"

    def _chosen(self, node) -> str:
        return f"{self.say(node.condition)}时取{self.say(node.case_true)}，否则取{self.say(node.case_false)}"

    def _listed(self, node) -> str:
        return "、".join(self.say(member) for member in node.value)

    def _called(self, node) -> str:
        name = node.function.name
        if name == "begins":
            return self._begun(node, "有")
        argument = node.arguments[0]
        if not isinstance(argument, ast.ComprehensionExpression):
            return f"{self._inner(argument)}{'的绝对值' if name == 'abs' else EXTREMES.get(name, '')}"
        whose, result = self._through(argument)
        if name == "any":
            return f"{whose}中至少有一条：{result}"
        if name == "all":
            return f"{whose}中每一条都：{result}"
        counted = name == "sum" and isinstance(argument.result, ast.FloatExpression) and argument.result.value == 1
        return f"{whose}的条数" if counted else f"{whose}，各条{result}{EXTREMES[name]}"

    def _begun(self, node, there: str) -> str:
        codes, prefixes = node.arguments
        return f"{self._inner(codes)}{there}以{self.say(prefixes)}开头的"

    def _count(self, node) -> str:
        distinct = isinstance(node, ast.GetAttributeExpression) and node.name == "to_set"
        rows = node.object if distinct else node
        if not isinstance(rows, ast.ComprehensionExpression):
            return f"{self.say(rows)}的{'不同个数' if distinct else '条数'}"
        whose, result = self._through(rows)
        return f"{whose}，不同的{result}个数" if distinct else f"{whose}的条数"

    def _through(self, node) -> tuple[str, str]:
        """A list that is gone through, with its condition, and what is taken of each element."""
        inside = self.among(node)
        whose = self.say(node.iterable)
        if node.condition is not None:
            whose += f"（限{inside.say(node.condition)}）"
        return whose, inside.say(node.result)

    def among(self, node: ast.ComprehensionExpression) -> "Speaker":
        """One who also knows the variable of a list that is gone through."""
        along = self._along(path_of(node.iterable) or [""])
        inner = {node.variable: along[-1].collection} if along and along[-1].collection else {}
        return replace(self, elements={**self.elements, **inner})

    def _comprehended(self, node) -> str:
        whose, result = self._through(node)
        return f"{whose}的{result}"


SAID = {
    **dict.fromkeys([ast.NullExpression, ast.FloatExpression, ast.StringExpression, ast.BooleanExpression,
                     ast.DatetimeExpression, ast.TimedeltaExpression], Speaker._literal),
    **dict.fromkeys([ast.ArrayExpression, ast.SetExpression], Speaker._listed),
    **dict.fromkeys([ast.ComparisonExpression, ast.ArithmeticComparisonExpression, ast.FuzzyComparisonExpression],
                    Speaker._compared),
    **dict.fromkeys([ast.AddExpression, ast.SubtractExpression, ast.ArithmeticExpression], Speaker._calculated),
    ast.SymbolExpression: Speaker._symbol,
    ast.GetAttributeExpression: Speaker._attribute,
    ast.LogicExpression: Speaker._logic,
    ast.UnaryExpression: Speaker._unary,
    ast.CoalesceExpression: Speaker._coalesced,
    ast.TernaryExpression: Speaker._chosen,
    ast.ContainsExpression: Speaker._contained,
    ast.ComprehensionExpression: Speaker._comprehended,
    ast.FunctionCallExpression: Speaker._called,
}  # fmt: skip


def of_dated_set(node) -> bool:
    """Does the node stand for `item in set`, where the set holds other codes at other times?"""
    return isinstance(node, ast.LogicExpression) and node.left.span == node.span


def set_test(node) -> ast.ContainsExpression:
    """The first of the tests that stand for `item in set`."""
    return next(inner for inner in walk(node) if isinstance(inner, ast.ContainsExpression))

"""What the compiler refuses, in words that several places say."""

from rule_engine import ast

ABOUT_ITSELF = "问一个元素时，列表不能再说它 a list inside the question of an element cannot speak of that element"
COMPARE = "用 let 命名内层，再比较其合计 name the inner one in let and compare with its sum"
LIST_OF_VALUES = "列表只含单个值 a list holds single values"

REFUSED: dict[type, tuple[str, str]] = {
    ast.BitwiseExpression: ("规则里没有位运算 bits mean nothing in a rule", "条件之间用 and、or between conditions"),
    ast.BitwiseShiftExpression: ("规则里没有位运算 bits mean nothing in a rule", "用乘除 multiply or divide"),
    ast.MappingExpression: ("规则里没有映射 a mapping has no place in a rule", "用 join 联表 join a table"),
    ast.BytesExpression: ("规则里没有字节 bytes have no place in a rule", "写成加引号的文字 a text in quotes"),
}


def a(value) -> str:
    """The kind of a value in words."""
    return NAMES.get(value.kind, value.kind)


NAMES = {"number": "数 number", "text": "文字 text", "bool": "是否 yes/no", "time": "时间 time", "span": "时长 span",
         "null": "空 null", "texts": "多个文字 texts", "set": "集合 set", "distinct": "集合 set", "array": "列表 list",
         "rows": "列表 list", "object": "对象 object", "params": "参数 parameters",
         "outer": "外层的元素 element around"}  # fmt: skip

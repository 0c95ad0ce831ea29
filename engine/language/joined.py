"""The rows of knowledge tables as conditions see them: attributes under short names."""

from engine.language.vocabulary import Attribute
from engine.reference.knowledge import shapes

INSTEAD_CAP = Attribute(
    "instead_cap", "number", True, "应收项目的价格上限", "of `instead`, for the visit's level, on the day of service"
)
ROW_NAMES = {"med_list_codg": "item", "hosp_lv": "level", "gend": "sex", "pric_uplmt_amt": "price_cap"}


def row_attributes(table: str) -> dict[str, Attribute]:
    """The attributes of a row of a knowledge table, under the short names conditions use."""
    kinds = {"text": "text", "int": "number", "date": "time", "datetime": "time", "money": "money", "list": "texts"}
    attributes = {}
    for column in shapes()[table].fields.values():
        name = ROW_NAMES.get(column.name, column.name)
        nullable = not column.required and column.type not in ("list",)
        attributes[name] = Attribute(name, kinds.get(column.type, "number"), nullable, column.label, column.note)
    if "instead" in attributes:
        attributes[INSTEAD_CAP.name] = INSTEAD_CAP
    return attributes

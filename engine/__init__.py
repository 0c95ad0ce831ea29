"""yibao, the engine: tables <- reference <- language, grouping, settlement, tracing <- audit <- report <- run <- cli.

Data flows one way through these rooms, and a room imports only rooms to its left (tests/test_structure.py).
"""

import os

# Polars reads ahead of a scan as many row groups as it likes, which of a wide table are gigabytes; four keep two
# processors busy as well, and one each more of them.
os.environ.setdefault("POLARS_ROW_GROUP_PREFETCH_SIZE", str(max(4, os.cpu_count() or 1)))


def check(claim, checker=None):
    """What the rules say of one claim: see `Checked` in engine/run/single.py.

    claim: a mapping in canonical names (engine/tables/document.py), or the path of a JSON file. checker: a `Checker` of
    a region, made once for many claims; without one, that of the rules and knowledge of the program, made when first
    asked for. Raises InputProblem with every fault of the document.
    """
    from engine.run.single import default_checker  # only whoever checks pays for loading the rules

    return (checker or default_checker())(claim)

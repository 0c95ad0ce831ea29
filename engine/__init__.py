"""yibao, the engine: tables <- reference <- language, grouping, settlement, tracing <- audit <- report <- run <- cli.

Data flows one way through these rooms, and a room imports only rooms to its left (tests/test_structure.py).
"""

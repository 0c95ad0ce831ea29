"""The rule language: loaded as text, type-checked, interpreted for one case, compiled for all. Knows no money."""

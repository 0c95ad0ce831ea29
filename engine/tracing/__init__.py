"""Trace codes of drug packs: what one pack's code lived through, as facts for rules to judge.

`codes` reads what was scanned, `events` says which sales stand, `packs` how much one code may cover, `facts` describes
each code, each code at a site and each fee line, `patterns` describes stock, scan bursts and buyers.
Nothing here says that anything is a violation.
"""

"""Trace codes of drug packs: what one pack's code lived through, as facts for rules to judge.

forms       what a scan says: one text, one class, why it is bad
codes       one 64-bit key per code, and back
returns     returns without a code, given those of their sale
events      which sales stand: uploads told once, returns netted
packs       how much one code may cover, which pack lies in which
travel      from one site to the next: chains, distance, time
provenance  of each sale: identity, validity, lot, supply
facts       a bucket of codes; facts of codes at sites and of codes
lines       facts of fee lines with their codes
patterns    facts over many codes: bursts of scans, buyers
ledger      what the stock ledger of a site says of its lots beside codes
stock       the stock of a lot that was counted
book        all that came in of a lot against all that went out, where no code follows every pack
history     the whole life of the codes behind a finding, which is context and no evidence
networks    persons and institutions joined by packs that were sold again elsewhere
evidence    the sales behind a case, with texts and money
words       the names, types and labels of all facts

Nothing here says that anything is a violation.
"""

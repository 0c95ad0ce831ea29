"""What a person has used up: one row of STATE per accumulated thing, kept in cells that belong to one person each.

A claim reads the cells of its person before its statement and adds to them after it; a refund takes back what its
original added, in the year and the benefit of the original.
"""

from types import SimpleNamespace

import numpy as np

from engine.settlement.accounts import Accounts
from engine.settlement.layers import Steps
from engine.settlement.policy import Policy
from engine.settlement.sequence import Sequence, cells

# the state: what is accumulated, from which step, and for what
STATE = {
    "admissions": ("admissions", "year"),
    "dedc": ("act_pay_dedc", "deductible"),
    "pool": ("pool_in_caps", "pool"),
    "second": ("pool_in_caps", "second"),
    "cost": ("pool_cost", "benefit"),
    "cost_capped": ("pool_cost", "cost_span"),
    "net": ("pool_base", "benefit"),
    "raw": ("pool_raw", "benefit"),
    "dedc_of_year": ("act_pay_dedc", "deductible_year"),
    "chain_dedc": ("act_pay_dedc", "chain"),
    "chained": ("admissions", "chain"),
    "hifp": ("hifp_pay", "year"),
    "hifob": ("hifob_pay", "year"),
    "acct": ("acct_pay", "account"),
    "cleared": ("bonus_years_cleared", "person"),
}


def state_of(policy: Policy, rule: SimpleNamespace) -> dict[str, tuple[str, str]]:
    """The rows of STATE that this policy needs, with the two of every layer behind the pool."""
    layers, needed = policy.layers(), vars(rule)
    unused = {
        "hifob": "large_amount" not in layers,
        "cost": "year_tiers" not in needed,
        "cost_capped": "cost_cap" not in needed,
        "net": "year_net_tiers" not in needed,
        "raw": "year_rounded" not in needed,
        "second": "second_cap" not in needed,
        "dedc_of_year": "deductible_year_cap" not in needed,
        "chain_dedc": "continues_within_days" not in needed,
        "chained": "continues_within_days" not in needed,
        "cleared": "catastrophic_bonus_most" not in needed,
    }
    state = {name: row for name, row in STATE.items() if not unused.get(name)}
    for name in policy.behind_the_pool():
        parts = ("base", "paid", *(["raw"] if f"{name}_year_rounded" in needed else []))
        state |= {f"{name}_{what}": (f"{name}_{what}", "year") for what in parts}
    for name in (name.removesuffix("_apart") for name in needed if name.endswith("_apart")):
        state |= {f"{name}_{what}": (f"{name}_{what}", "benefit") for what in ("paid", "raw")}
    return state


class Used:
    """The cells, and where those of each claim are. Two threads may work on claims of different sequences."""

    def __init__(self, seq: Sequence, policy: Policy, rule: SimpleNamespace, kind: np.ndarray, accounts: Accounts,
                 earlier: int, chain: np.ndarray | None = None):  # fmt: skip
        self.state, self.accounts = state_of(policy, rule), accounts
        benefits = list(policy.benefits.values())
        of = np.where(seq.original >= 0, seq.original, np.arange(len(kind)))
        benefit, day = np.maximum(rule.benefit[kind][of], 0), seq.day[of]
        year, persons = np.searchsorted(seq.years, seq.year), len(seq.people) + 1
        own = [(seq.person, persons), (year, len(seq.years))]
        self.cell: dict[str, np.ndarray] = {"person": seq.person, "account": accounts.own}
        self.size = {"person": persons, "account": len(accounts.balance)}
        if chain is not None:
            self.cell["chain"], self.size["chain"] = chain[of], int(chain.max(initial=0)) + 1
        deductible = _shared([b.deductible_shared for b in benefits], benefit)
        for name, parts in {
            "year": own,
            "deductible": [*own, deductible, _span([b.deductible_per for b in benefits], benefit, day)],
            "deductible_year": [*own, deductible],
            "pool": [
                *own,
                _shared([b.pool_cap_shared for b in benefits], benefit),
                _span([b.pool_cap_per for b in benefits], benefit, day),
            ],
            "second": [*own, (benefit, len(benefits)), _span([b.second_cap_per for b in benefits], benefit, day)],
            "cost_span": [*own, (benefit, len(benefits)), _span([b.cost_cap_per for b in benefits], benefit, day)],
            "benefit": [*own, (benefit, len(benefits))],
        }.items():
            if any(cell == name for _, cell in self.state.values()):
                self.cell[name], self.size[name] = cells(parts)
        self.used = {name: np.zeros(self.size[cell], np.int64) for name, (_, cell) in self.state.items()}
        self.earlier = _earlier(seq, earlier)
        self.by_year = np.zeros(self.earlier.max(initial=-1) + 1, np.int64)

    def before(self, rows: np.ndarray) -> "Before":
        """What the persons of some claims, one of each sequence, have used up before them."""
        return Before(self, rows)

    def add(self, before: "Before", steps: Steps) -> None:
        """Add what the steps of those claims used up."""
        for name, (step, cell) in self.state.items():
            self.used[name][before.cells(cell)] += steps[step]
        for place, opening in enumerate(before.drawn):
            self.used["acct"][opening] += steps[f"mulaid_{place}"]
        if self.earlier.shape[1]:
            self.by_year[self.earlier[before.rows, 0]] += steps["hifp_pay"]


class Rows:
    """Amounts and terms of the claims at hand by name; looked up when asked for, those of a kind through its number."""

    def __init__(self, by_claim: Steps, by_kind: Steps, rows: np.ndarray, kind: np.ndarray, together: dict):
        self._by_claim, self._by_kind, self._rows, self._kind = by_claim, by_kind, rows, kind
        self.together = together  # of each layer the others that use up the same cap

    def __getattr__(self, name: str) -> np.ndarray:
        per_claim = name in self._by_claim
        found = self._by_claim[name][self._rows] if per_claim else self._by_kind[name][self._kind]
        setattr(self, name, found)
        return found

    def __contains__(self, name: str) -> bool:
        return name in self._by_claim or name in self._by_kind

    def has(self, layer: str, what: str) -> bool:
        """Whether a layer behind the pool has such a term."""
        return f"{layer}_{what}" in self

    def of(self, layer: str, what: str) -> np.ndarray:
        """A term of a layer behind the pool."""
        return getattr(self, f"{layer}_{what}")


class Before:
    """What was used up, by name, for the claims at hand; looked up when asked for."""

    def __init__(self, used: Used, rows: np.ndarray):
        self.rows, self._used, self._cells = rows, used, {}

    def cells(self, cell: str) -> np.ndarray:
        """Where one kind of state of these claims is kept."""
        if cell not in self._cells:
            self._cells[cell] = self._used.cell[cell][self.rows]
        return self._cells[cell]

    def __getattr__(self, name: str) -> np.ndarray:
        return self._used.used[name][self.cells(self._used.state[name][1])]

    def of(self, layer: str, what: str) -> np.ndarray:
        """The same of one layer behind the pool: base or paid."""
        return getattr(self, f"{layer}_{what}")

    @property
    def earlier(self) -> list[np.ndarray]:
        """What the pool paid in the year before, the one before that, …"""
        cells_of = self._used.earlier[self.rows]
        return [self._used.by_year[cells_of[:, back]] for back in range(1, cells_of.shape[1])]

    @property
    def drawn(self) -> list[np.ndarray]:
        """The openings of the family's accounts, one after the other."""
        return list(self._used.accounts.others[self.rows].T)

    @property
    def others(self) -> list[np.ndarray]:
        """What is left on the accounts of the family, one after the other."""
        balance, used = self._used.accounts.balance, self._used.used["acct"]
        return [balance[opening] - used[opening] for opening in self.drawn]


SPANS = {"half_year": 2, "quarter": 4, "month": 12, "day": 366}  # parts of a year


def _span(per: list[str | None], benefit: np.ndarray, day: np.ndarray) -> tuple[np.ndarray, int]:
    """The number of the part of the year in which a benefit keeps something, 0 for the year itself or a claim."""
    most = max((SPANS.get(span or "", 1) for span in per), default=1)
    number = np.zeros(len(day), np.int64)
    if most == 1:
        return number, 1
    month = day.astype("datetime64[M]").astype(np.int64) % 12
    days = (day - day.astype("datetime64[Y]")).astype(np.int64)
    by_span = {"half_year": month // 6, "quarter": month // 3, "month": month, "day": days}
    for span, numbers in by_span.items():
        number = np.where(np.array([one == span for one in per])[benefit], numbers, number)
    return number, most


def _shared(words: list[str], benefit: np.ndarray) -> tuple[np.ndarray, int]:
    """The number under which a benefit keeps something: its own, or that of all benefits with the same word."""
    names = [word or f" {n}" for n, word in enumerate(words)]
    return np.array([names.index(name) for name in names])[benefit], len(names)


def _earlier(seq: Sequence, back: int) -> np.ndarray:
    """Per claim the cells of its person and year, and of so many years before; no columns where none are asked for."""
    if not back:
        return np.zeros((len(seq.year), 0), np.int64)
    years = (seq.year[:, None] - np.arange(back + 1)).ravel()
    span = years.max(initial=0) - years.min(initial=0) + 1
    person = np.repeat(seq.person, back + 1)
    return cells([(person, len(seq.people) + 1), (years - years.min(initial=0), span)])[0].reshape(-1, back + 1)

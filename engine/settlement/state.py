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
    "pool": ("hifp_pay", "pool"),
    "cost": ("pool_cost", "benefit"),
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
        "cost": "cost_cap" not in needed and "year_tiers" not in needed,
        "cleared": "catastrophic_bonus_most" not in needed,
    }
    state = {name: row for name, row in STATE.items() if not unused.get(name)}
    for name in policy.behind_the_pool():
        state |= {f"{name}_{what}": (f"{name}_{what}", "year") for what in ("base", "paid")}
    return state


class Used:
    """The cells, and where those of each claim are. Two threads may work on claims of different sequences."""

    def __init__(self, seq: Sequence, policy: Policy, rule: SimpleNamespace, kind: np.ndarray, accounts: Accounts,
                 earlier: int):  # fmt: skip
        self.state, self.accounts = state_of(policy, rule), accounts
        benefit, month = rule.benefit[kind], seq.day.astype("datetime64[M]").astype(np.int64) % 12
        of = np.where(seq.original >= 0, seq.original, np.arange(len(kind)))
        benefit, month = np.maximum(benefit[of], 0), month[of]
        year, persons = np.searchsorted(seq.years, seq.year), len(seq.people) + 1
        own = [(seq.person, persons), (year, len(seq.years))]
        monthly = np.array([b.pool_cap_per == "month" for b in policy.benefits.values()])[benefit]
        self.cell: dict[str, np.ndarray] = {"person": seq.person, "account": accounts.own}
        self.size = {"person": persons, "account": len(accounts.balance)}
        months = (np.where(monthly, month + 1, 0), 13) if monthly.any() else (np.zeros_like(month), 1)
        for name, parts in {
            "year": own,
            "deductible": [*own, _shared([b.deductible_shared for b in policy.benefits.values()], benefit)],
            "pool": [*own, _shared([b.pool_cap_shared for b in policy.benefits.values()], benefit), months],
            "benefit": [*own, (benefit, len(policy.benefits))],
        }.items():
            if any(cell == name for _, cell in self.state.values()):
                self.cell[name], self.size[name] = cells(parts)
        self.used = {name: np.zeros(self.size[cell], np.int64) for name, (_, cell) in self.state.items()}
        self.earlier = _earlier(seq, earlier)
        self.by_year = np.zeros(self.earlier.max(initial=-1) + 1, np.int64)

    def before(self, rows: np.ndarray) -> "Before":
        """What the persons of some claims, one of each sequence, have used up before them."""
        return Before(self, rows)

    def add(self, rows: np.ndarray, result: Steps) -> None:
        """Add what those claims used up."""
        for name, (step, cell) in self.state.items():
            self.used[name][self.cell[cell][rows]] += result[step][rows]
        for place in range(self.accounts.others.shape[1]):
            self.used["acct"][self.accounts.others[rows, place]] += result[f"mulaid_{place}"][rows]
        if self.earlier.shape[1]:
            self.by_year[self.earlier[rows, 0]] += result["hifp_pay"][rows]


class Rows:
    """Amounts and terms of the claims at hand by name; looked up when asked for, those of a kind through its number."""

    def __init__(self, by_claim: Steps, by_kind: Steps, rows: np.ndarray, kind: np.ndarray):
        self._by_claim, self._by_kind, self._rows, self._kind = by_claim, by_kind, rows, kind

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
        self._used, self._rows = used, rows

    def __getattr__(self, name: str) -> np.ndarray:
        cell = self._used.state[name][1]
        return self._used.used[name][self._used.cell[cell][self._rows]]

    def of(self, layer: str, what: str) -> np.ndarray:
        """The same of one layer behind the pool: base or paid."""
        return getattr(self, f"{layer}_{what}")

    @property
    def earlier(self) -> list[np.ndarray]:
        """What the pool paid in the year before, the one before that, …"""
        return [
            self._used.by_year[self._used.earlier[self._rows, back]] for back in range(1, self._used.earlier.shape[1])
        ]

    @property
    def others(self) -> list[np.ndarray]:
        """What is left on the accounts of the family, one after the other."""
        accounts, used = self._used.accounts, self._used.used["acct"]
        drawn = (accounts.others[self._rows, place] for place in range(accounts.others.shape[1]))
        return [accounts.balance[opening] - used[opening] for opening in drawn]


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

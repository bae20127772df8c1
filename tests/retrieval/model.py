"""A naive model of retrieval: dense matrices and loops, written from the definitions and sharing no code with them."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from scipy import sparse

from neuroconcepts_ray.naming.tables import Name
from neuroconcepts_ray.retrieval.index import Index
from neuroconcepts_ray.retrieval.query import Query
from neuroconcepts_ray.retrieval.ranking import Statistics
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.retrieval.snapshot import Draft


def name(neuron: int, words: str) -> Name:
    return Name(neuron, words, "present", 0.8, 0.7, 0.9, 0.01, 30, 100, 50)


@dataclass
class Archive:
    """Codes and rows, in an order that is not that of the ids."""

    dense: np.ndarray
    table: pa.Table

    @property
    def ids(self) -> list[str]:
        found: list[str] = self.table["image_id"].to_pylist()
        return found

    def some(self, rows: list[int]) -> "Archive":
        return Archive(self.dense[rows], self.table.take(pa.array(rows, pa.int64())))

    def draft(self, key: str = "a") -> Draft:
        return Draft.of(key, sparse.csr_array(self.dense.astype(np.float32)), self.table)

    def index(self, cuts: tuple[int, ...] = ()) -> Index:
        """Cut at these rows into segments."""
        edges = [0, *cuts, len(self.dense)]
        drafts = [self.some(list(range(a, b))).draft(f"s{a}") for a, b in pairwise(edges) if b > a]
        frequency = (self.dense != 0).sum(axis=0).astype(np.int64)
        return Index([draft.open() for draft in drafts], Statistics(len(self.dense), frequency))


def archive(seed: int, m: int = 120, n: int = 24, density: float = 0.3, whole: bool = True) -> Archive:
    """Small whole activations, so that ties abound; some films twice under other ids, some neurons silent."""
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 4, (m, n)) if whole else rng.gamma(2.0, 0.7, (m, n)).astype(np.float32)
    dense = np.where(rng.random((m, n)) < density * rng.random(n) * 2, values, 0).astype(np.float32)
    dense[m // 2 : m // 2 + m // 6] = dense[: m // 6]
    group = rng.integers(0, max(1, m // 3), m)
    study = group * 10 + rng.integers(0, 2, m)
    table = pa.table(
        {
            "image_id": [f"image{row:04d}" for row in rng.permutation(m)],
            "study": [f"s{x}" for x in study],
            "group": [f"g{x}" for x in group],
            "view": rng.choice(["AP", "PA", "LATERAL"], m).tolist(),
            "role": rng.choice(["fit", "probe", "test"], m).tolist(),
            "label:Edema": pa.array(rng.choice([0, 1], m), pa.int8(), mask=rng.random(m) < 0.2),
        }
    )
    return Archive(dense, table)


NAMES = {1: name(1, "pleural effusion"), 4: name(4, "pleural effusion"), 7: name(7, "support device")}


def service(seed: int, cuts: tuple[int, ...] = (), **more: object) -> SearchService:
    return SearchService(archive(seed, **more).index(cuts), NAMES)  # type: ignore[arg-type]


def concept(one: int | str) -> list[int]:
    if isinstance(one, int) or one.isdecimal():
        return [int(one)]
    return [j for j, held in NAMES.items() if held.name == one]


def naive(a: Archive, query: Query) -> list[tuple[str, float]]:
    """Image and score of every hit of a query's page."""
    dense = a.dense.astype(np.float64)
    m, n = dense.shape
    ids, columns = a.ids, {c: a.table[c].cast(pa.string()).fill_null("").to_pylist() for c in a.table.column_names}
    df = (dense != 0).sum(axis=0)
    idf = np.log(1 + (m - df + 0.5) / (df + 0.5))
    boost = {j: factor for one, factor in query.boost.items() for j in concept(one)}
    without = {j for one in query.without for j in concept(one)}
    examples = [ids.index(one) for one in query.like]
    opposites = [ids.index(one) for one in query.unlike]
    q = np.zeros(n)
    if examples or opposites:
        for rows, sign in ((examples, 1.0), (opposites, -0.5)):
            for row in rows:
                q += sign * dense[row] / np.sqrt((dense[row] ** 2).sum()) / len(rows)
        fired = (dense[examples + opposites] != 0).any(axis=0)
        usual = np.abs(q[fired]).mean()
        for j, factor in boost.items():
            q[j] = factor * (q[j] if fired[j] else usual)
        q[list(without)] = 0
    else:
        asked = [j for one in query.all_of for j in concept(one.concept)]
        asked += [j for one in query.any_of for j in concept(one)]
        words = set(query.text.split())
        asked += [j for j, held in NAMES.items() if words and words <= set(held.name.split())]
        for j in set(asked) - without:
            q[j] = boost.get(j, 1.0) * (idf[j] if query.weighting != "none" else 1)
    if query.weighting == "bm25":
        w = q = q * idf if examples or opposites else q
        length = (dense != 0).sum(axis=1)
        k = 1.2 * (0.25 + 0.75 * length / ((dense != 0).sum() / m))
        score = (w * dense * 2.2 / np.where(dense > 0, dense + k[:, None], 1)).sum(axis=1)
    elif examples or opposites:
        omega = idf if query.weighting == "idf" else np.ones(n)
        norms = np.sqrt(((dense * omega) ** 2).sum(axis=1))
        with np.errstate(invalid="ignore", divide="ignore"):
            score = np.nan_to_num((dense * omega) @ (q * omega) / (norms * np.sqrt(((q * omega) ** 2).sum())))
    else:
        score = dense @ q
    allowed = np.ones(m, bool)
    for clause in query.all_of:
        fires = np.zeros(m, bool)
        for j in concept(clause.concept):
            fires |= (dense[:, j] > 0) & (dense[:, j] >= np.float32(clause.at_least))
        allowed &= fires
    for clause in query.none_of:
        for j in concept(clause.concept):
            allowed &= ~((dense[:, j] > 0) & (dense[:, j] >= np.float32(clause.at_least)))
    for column, values in query.where.items():
        allowed &= np.array([value in values for value in columns[column]])
    if query.ids is not None:
        allowed &= np.array([one in query.ids for one in ids])
    own = {"group": "group", "study": "study", "self": "image_id"}.get(query.exclude)
    if own is not None:
        barred = {columns[own][row] for row in examples + opposites}
        allowed &= np.array([value not in barred for value in columns[own]])
    least = 0.0
    if (q < 0).any():
        cosine = (examples or opposites) and query.weighting != "bm25"
        least = 1e-5 if cosine else 1e-9 * np.abs(q).sum()
    hits = sorted((-score[row], ids[row]) for row in range(m) if allowed[row] and score[row] > least)
    return [(one, -s) for s, one in hits[query.offset : query.offset + query.top]]

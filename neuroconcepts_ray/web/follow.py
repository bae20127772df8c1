"""Which state of an index is served: the ref is looked at, and whoever serves moves on when it has moved.

A version names one state for good, so that router and shards of one query speak of the same one.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from neuroconcepts_ray.errors import EnvironmentFault, InputError, NeuroconceptsError, fault
from neuroconcepts_ray.lake import refs
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.retrieval import changes
from neuroconcepts_ray.retrieval.changes import State
from neuroconcepts_ray.retrieval.index import Index
from neuroconcepts_ray.retrieval.ranking import Filters, Ranking

LOG = logging.getLogger("neuroconcepts.web")


@dataclass(frozen=True)
class Version:
    """One state of an index.

    Attributes:
        number: Version of the ref.
        base: Fingerprint of the base that the state is over.
    """

    number: int
    base: str


@dataclass(frozen=True)
class Followed:
    """An index whose ref is followed.

    Attributes:
        lake: The lake.
        base: The base that was there when serving began.
        began: Version of the ref then: a base may be newer than what the ref says, until the ref moves.
        names: Names of its neurons.
    """

    lake: Lake
    base: Manifest
    began: int
    names: Manifest | None = None

    @classmethod
    def start(cls, lake: Lake, base: Manifest, names: Manifest | None = None) -> "Followed":
        """Begin at the newest state."""
        return cls(lake, base, changes.published(lake, base).version, names)

    def look(self) -> Version:
        """The newest version.

        Raises:
            InputError: What the ref points to is no index that can be read here.
        """
        head = refs.head(self.lake.store, changes.ref_of(self.base))
        if head is None or head[0] == self.began:
            return Version(self.began, self.base.artifact)
        number, ref = head
        newest = self.lake.manifest(ref.kind, ref.recipe, ref.artifact)
        if newest is None or newest.recipe != self.base.recipe:
            raise InputError(
                "the newest state of the index is gone, or of another version of this program",
                value=number,
                remedy="Serve it with the program that published it",
            )
        return Version(number, str(newest.facts.get("base", newest.artifact)))

    def state(self, version: Version) -> State:
        """The state of a version.

        Raises:
            InputError: It is gone.
        """
        base: Manifest | None = self.base
        if version.base != self.base.artifact:
            base = self.lake.manifest(self.base.kind, self.base.recipe, version.base)
        if base is None:
            raise InputError("the base of this state of the index is gone", value=version.base)
        try:
            return changes.published(self.lake, base, version.number)
        except FileNotFoundError as error:
            raise InputError("the index has no such version", value=version.number) from error

    def names_of(self, state: State) -> Manifest | None:
        """Names of the codes of a state: those given, or their like over the codes as they are now."""
        if self.names is None:
            return None
        codes = state.base.inputs["codes"]
        if self.names.inputs["codes"] == codes:
            return self.names
        return next((one for one in self.lake.siblings(self.names) if one.inputs["codes"] == codes), None)


def warm(index: Index) -> None:
    """Ask an index something, so that its tables are read and its kernels compiled before the first query."""
    for segment in index.segments:
        fires = segment.forward.neurons[:1].astype("int64").tolist()
        query = dict.fromkeys(fires, 1.0)
        if not query or not len(segment):
            continue
        barred = Filters(barred=(("group", segment.images.value("group", 0)), ("study", "")))
        index.search(Ranking.of("cosine", query), "none", barred, 1)
        index.search(Ranking.of("sum", query, must=((tuple(fires), 0.0),)), "none", Filters(), 1)


T = TypeVar("T")


class Watch(Generic[T]):
    """What is served now; swapped in one step, so that every query sees one state from beginning to end.

    Args:
        look: The newest version.
        opened: Opens one; the old one is served meanwhile, and let go of by its last query.
        every: Seconds between looks.
    """

    def __init__(self, look: Callable[[], Version], opened: Callable[[Version], T], every: float) -> None:
        self._look, self._open, self._every = look, opened, every
        self._now: tuple[Version, T] | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def current(self) -> T:
        """What is served now.

        Raises:
            EnvironmentFault: Nothing is open yet.
        """
        now = self._now
        if now is None:
            raise EnvironmentFault("the index is not open yet", remedy="Ask again in a moment")
        return now[1]

    def refresh(self) -> bool:
        """Look once; whether something newer was opened."""
        version = self._look()
        if self._now is not None and self._now[0] == version:
            return False
        self._now = (version, self._open(version))
        return True

    def start(self) -> None:
        """Look again and again in a thread of its own, until :meth:`stop`."""
        self._thread = threading.Thread(target=self._run, name="watch-index", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        told = ""
        while not self._stop.wait(self._every):
            try:
                self.refresh()
                told = ""
            except Exception as error:  # whatever is wrong with the new state, the old one goes on being served
                what = error.what if isinstance(error, NeuroconceptsError) else fault(error).what
                if what != told:
                    LOG.warning("a newer state of the index cannot be served: %s", what)
                told = what

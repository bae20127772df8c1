"""`map_shards` without Ray, for tests of stages: the same loads and workers, one after the other, in this process."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from neuroconcepts_ray.distributed.hands import find_worker
from neuroconcepts_ray.lake.shards import Slip
from neuroconcepts_ray.pixels import load as loading
from neuroconcepts_ray.pixels import packed as reading


def in_process(seen: list[str]) -> Callable[..., None]:
    """What stands for `map_shards`; the ids of the images that pass through a worker are appended to ``seen``."""

    def map_shards(
        shards: Sequence[Slip],
        *,
        worker: str,
        spec: dict[str, Any],
        load: Any,
        find: Any,
        each: Callable[[str], None] | None = None,
        **_: Any,
    ) -> None:
        plain = json.loads(json.dumps(spec))
        # Between two tests a lake of the same name may hold other films.
        loading._films.cache_clear()
        reading._last.cache_clear()
        actor = find_worker(worker)(plain) if shards else None
        for slip in shards:
            shard = find(slip, plain)
            seen.extend(row.image_id for row in shard.rows)
            assert actor is not None
            actor(shard, load(shard, plain))
            if each is not None:
                each(slip.key)

    return map_shards

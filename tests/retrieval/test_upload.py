"""An uploaded image becomes the very code that it has in the archive, and says when it is unlike all of it."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.catalog.sources import read_source
from neuroconcepts_ray.catalog.tables import load_catalog, load_sources
from neuroconcepts_ray.errors import ConfigError, InputError
from neuroconcepts_ray.imaging.decode import Undecodable
from neuroconcepts_ray.pipeline import Pipeline
from neuroconcepts_ray.retrieval.maps import Pair, write_maps
from neuroconcepts_ray.retrieval.query import Query
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.retrieval.upload import QUANTILE, Distance, Uploader
from tests.conftest import Chain


def test_the_distance_is_mahalanobis_and_the_threshold_a_quantile_of_other_images() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((4, 4))
    x = rng.standard_normal((4000, 4)) @ mixing + 3
    select = rng.standard_normal((2000, 4)) @ mixing + 3
    distance = Distance.of(x.astype(np.float32), select.astype(np.float32))
    covariance = np.cov(x.T)
    naive = [np.sqrt((row - x.mean(0)) @ np.linalg.solve(covariance, row - x.mean(0))) for row in select[:50]]
    # Of so many images the shrinkage takes next to nothing.
    np.testing.assert_allclose(distance(select[:50]), naive, rtol=0.02)
    assert (distance(select) > distance.threshold).mean() == pytest.approx(1 - QUANTILE, abs=0.002)
    with pytest.raises(InputError, match="too few images"):
        Distance.of(x[:1].astype(np.float32), select.astype(np.float32))


@pytest.fixture(scope="module")
def line(chain: Chain) -> Pipeline:
    return Pipeline(pipeline.load(chain.file, []))


@pytest.mark.parametrize("space", ["latents", "units"])
def test_a_film_of_the_archive_gets_its_own_code_and_finds_itself(line: Pipeline, space: str) -> None:
    have = line.artifacts(f"index.{space}")
    sources = load_sources(line.lake, have["catalog"])
    service = SearchService.open(line.lake, have[f"index.{space}"])
    uploader = Uploader.open(line.lake, have, space)
    assert uploader.flagged["select"] <= 0.05
    for image_id in load_catalog(line.lake, have["catalog"]).image_ids[::40].tolist():
        uploaded = uploader.encode(read_source(line.config.catalog.root, sources[image_id]))
        neurons, values = service.code(image_id)
        mine, stored = np.zeros((2, service.index.n))
        mine[uploaded.example.neurons] = uploaded.example.values
        stored[neurons] = values
        # Float32 rounds differently in a batch of one.
        np.testing.assert_allclose(mine, stored, atol=1e-4 * values.max())
        hits = service.search(Query(exclude="none", top=5), [uploaded.example]).hits
        assert image_id in [hit.image_id for hit in hits if hit.score >= hits[0].score - 1e-9]
        assert uploaded.probabilities == pytest.approx(1 / (1 + np.exp(-uploaded.logits)), abs=1e-6)
        assert uploaded.far == (uploaded.distance > uploaded.threshold)


def test_noise_is_far_and_what_is_no_image_is_refused(line: Pipeline) -> None:
    uploader = Uploader.open(line.lake, line.artifacts("index.latents"), "latents")
    sink = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(sink, "PNG")
    assert uploader.encode(sink.getvalue()).far
    with pytest.raises(Undecodable, match="not an image"):
        uploader.encode(b"%PDF-1.7 a report, not a film")


def test_an_index_that_another_sae_or_classifier_made_is_refused_by_name(line: Pipeline) -> None:
    have = line.artifacts("index.latents")
    other = have["sae"].model_copy(update={"content": "0" * 32})
    with pytest.raises(InputError, match=r"codes.latents was made with another sae"):
        Uploader.open(line.lake, {**have, "sae": other}, "latents")
    other = have["classifier"].model_copy(update={"content": "0" * 32})
    with pytest.raises(InputError, match=r"activations.pre_logits was made with another classifier"):
        Uploader.open(line.lake, {**have, "classifier": other}, "units")
    with pytest.raises(ConfigError, match="no index of this space"):
        Uploader.open(line.lake, have, "nowhere")


def test_the_maps_of_a_pair_are_written_for_both_films(line: Pipeline, tmp_path: Path) -> None:
    have = line.artifacts("index.latents")
    service = SearchService.open(line.lake, have["index.latents"])
    query = str(load_catalog(line.lake, have["catalog"]).image_ids[0])
    hit = service.search(Query(like=[query], top=1)).hits[0]
    pairs = [Pair(one.neuron, query, hit.image_id) for one in hit.shared[:2]]
    written = write_maps(line.lake, have, line.config.catalog.root, "latents", pairs, tmp_path / "maps")
    assert [entry["neuron"] for entry in written] == [pair.neuron for pair in pairs]
    for entry in written:
        for side in ("query", "hit"):
            with Image.open(tmp_path / "maps" / entry[side]["file"]) as shown:
                assert shown.size == (32, 32)
    with pytest.raises(InputError, match="no such neuron"):
        write_maps(line.lake, have, line.config.catalog.root, "latents", [Pair(10**6, query, query)], tmp_path)
    with pytest.raises(InputError, match="no such image"):
        write_maps(line.lake, have, line.config.catalog.root, "latents", [Pair(0, query, "x")], tmp_path)

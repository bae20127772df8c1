"""Controls, MonoSemanticity and stability against closed forms and loops."""

from math import comb, log2

import numpy as np
import pytest
import torch
from scipy import sparse

from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.sae.activation import TopK
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.controls import code_bits, components_at, random_directions, random_fvu
from neuroconcepts_ray.sae.curve import grid, warnings
from neuroconcepts_ray.sae.data import Resident
from neuroconcepts_ray.sae.fidelity import keep_top
from neuroconcepts_ray.sae.measure import codes, figures, histogram
from neuroconcepts_ray.sae.metrics import gather
from neuroconcepts_ray.sae.model import SAE
from neuroconcepts_ray.sae.monosemantic import monosemanticity, unit_rows
from neuroconcepts_ray.sae.plot import curve
from neuroconcepts_ray.sae.stability import stability


def test_bits_are_the_logarithm_of_the_supports_and_the_values() -> None:
    assert code_bits(64, 5.0) == pytest.approx(log2(comb(64, 5)) + 40)
    assert code_bits(8, 8.0) == pytest.approx(64)
    assert components_at(65.0) == 9


def test_a_random_dictionary_explains_all_with_d_latents_and_less_with_few() -> None:
    x = np.random.default_rng(0).standard_normal((100, 6)).astype(np.float32)
    mean = x.mean(axis=0, dtype=np.float64)
    assert random_fvu(mean, x, 20, 0) == pytest.approx(1)
    assert random_fvu(mean, x, 20, 6) < random_fvu(mean, x, 20, 2) < random_fvu(mean, x, 20, 1) < 1
    directions = random_directions(20, 6)
    centred = x - mean
    best = (centred @ directions.T).max(axis=1)
    expected = 1 - np.square(best).sum() / np.square(centred).sum()
    assert random_fvu(mean, x, 20, 1) == pytest.approx(expected, abs=1e-5)


def test_monosemanticity_is_the_loop_over_pairs() -> None:
    rng = np.random.default_rng(1)
    e = unit_rows(rng.standard_normal((30, 5)))
    z = np.maximum(rng.standard_normal((30, 4)), 0)
    z[:, 3] = 0
    z[7, 3] = 2
    expected = []
    for a in z.T[:3]:
        pairs = [(a[i] * a[j], float(e[i] @ e[j])) for i in range(30) for j in range(i)]
        expected.append(sum(w * c for w, c in pairs) / sum(w for w, _ in pairs))
    found = monosemanticity(sparse.csr_array(z), e)
    np.testing.assert_allclose(found[:3], expected, rtol=1e-10)
    assert np.isnan(found[3])


def test_stability_is_one_for_a_permutation_with_flipped_signs_and_chance_for_random_ones() -> None:
    a = random_directions(12, 32)
    order = np.random.default_rng(3).permutation(12)
    same = stability(a, -a[order])
    assert same.pw_mcc == pytest.approx(1) and same.same == 1
    other = stability(a, random_directions(12, 32, 9))
    assert other.same == 0
    assert other.pw_mcc == pytest.approx(other.random_pw_mcc, abs=0.1)
    assert other.pw_mcc <= other.mean_max


def test_top_latents_and_densities_are_counted() -> None:
    score = np.array([[1.0, 3.0, 2.0], [5.0, 0.0, 1.0]])
    assert keep_top(score, 2).tolist() == [[0, 1, 1], [1, 0, 1]]
    assert keep_top(score, 9).all()
    told = histogram(np.array([0.0, 0.05, 0.2, 1.0]))
    assert told["never"] == 1 and told["latents"] == [0, 0, 0, 1, 1, 1]


def test_an_identity_explains_all_and_its_controls_do_not() -> None:
    x = np.abs(np.random.default_rng(2).standard_normal((80, 8))).astype(np.float32)
    eye = torch.eye(8)
    sae = SAE(eye, torch.zeros(8), eye, torch.zeros(8), TopK(3))
    found = figures(sae, gather(sae, Resident(torch.from_numpy(x[:40]))), x[40:], codes(sae, x[40:]))
    assert found["l0"] == 3 and found["half_fraction"] <= found["dense_fraction"] == 1
    assert found["bits"] == pytest.approx(log2(comb(8, 3)) + 24)
    assert found["pca_bits_fvu"] < found["pca_fvu"] < 1
    assert found["monosemanticity"] > found["monosemanticity_control"]


def test_a_grid_is_the_product_and_refuses_what_is_no_field() -> None:
    members = grid(SAEConfig(), ["k=2,4", "seed=0,1"])
    assert [(config.k, config.seed) for _, config in members] == [(2, 0), (2, 1), (4, 0), (4, 1)]
    for axis in ("q=1", "k", "k=", "k=4,8,4"):
        with pytest.raises(ConfigError, match="not an axis"):
            grid(SAEConfig(), [axis])
    with pytest.raises(ConfigError, match=r"sae\.k: "):
        grid(SAEConfig(), ["k=none"])


def test_warnings_name_what_is_wrong_and_the_plot_has_every_member() -> None:
    good = {"fvu": 0.2, "pca_fvu": 0.4, "random_fvu": 0.6, "fit_fvu": 0.18, "dead_fraction": 0.0, "l0": 8.0}
    assert warnings(good) == []
    bad = warnings(good | {"fvu": 0.7, "dead_fraction": 0.6})
    assert [any(word in one for one in bad) for word in ("PCA", "random", "overfits", "fire for no")] == [True] * 4
    assert curve([good, good | {"l0": 16.0}], "a <b>").count('fill="#1a5fb4"') == 3


def test_an_axis_may_have_lists_and_what_is_not_yaml_is_named() -> None:
    found = [config.prefixes for _, config in grid(SAEConfig(), ["prefixes=[0.5,1.0],[0.25, 0.5, 1.0]"])]
    assert found == [[0.5, 1.0], [0.25, 0.5, 1.0]]
    for axis in ("k=[1", "k=@"):
        with pytest.raises(ConfigError, match="not a value of a sweep"):
            grid(SAEConfig(), [axis])

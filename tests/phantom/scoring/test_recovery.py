"""Recovery against cases whose answer is known."""

import numpy as np
import pytest

from neuroconcepts_ray.phantom.scoring.cells import Cells
from neuroconcepts_ray.phantom.scoring.factors import Question
from neuroconcepts_ray.phantom.scoring.recovery import Candidates, Recovery, choose, recover

N = 1500
ROLES = np.array(["fit", "probe", "select", "verify", "test"])[np.arange(N) % 5]
GROUPS = np.arange(N) // 10


@pytest.fixture
def there() -> np.ndarray:
    return (np.random.default_rng(0).random(N) < 0.4).astype(float)


def one(scores: np.ndarray, activations: np.ndarray, y: np.ndarray, *, signed: bool = False) -> Recovery:
    return recover({"it": Candidates(scores, signed)}, activations, [Question("Edema", "labelled", y)], ROLES, GROUPS)


def test_a_neuron_that_is_the_finding_recovers_all_that_a_probe_can(there: np.ndarray) -> None:
    scores = np.random.default_rng(1).standard_normal((N, 6))
    scores[:, 4] = there
    found = one(scores, scores, there)
    assert found.chosen["it"].neurons.tolist() == [4]
    share, bounds = found.share("it")
    assert (share[0], *bounds[:, 0]) == (1.0, 1.0, 1.0)
    (figure,) = found.found["it"].table().values()
    assert figure == {"auroc": 1.0, "low": 1.0, "high": 1.0, "n": 300, "positives": there[ROLES == "test"].sum()}


def test_random_neurons_recover_nothing_of_what_a_probe_sees(there: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    scores, seen = rng.standard_normal((N, 40)), there + rng.normal(0, 0.5, N)
    found = one(scores, seen[:, None], there)
    _, bounds = found.share("it")
    assert bounds[0, 0] < 0 < bounds[1, 0]
    assert found.probe.auroc[0] > 0.85


def test_a_neuron_that_fires_where_the_finding_is_not_counts_only_where_it_has_no_sign(there: np.ndarray) -> None:
    scores = np.stack([1.0 - there, np.zeros(N)], axis=1)
    found = one(scores, scores, there)
    assert found.chosen["it"].neurons.tolist() == [1]
    assert found.share("it")[0][0] == 0.0
    either = one(scores, scores, there, signed=True)
    assert (either.chosen["it"].neurons.tolist(), either.chosen["it"].signs.tolist()) == ([0], [-1.0])
    assert either.share("it")[0][0] == 1.0


def test_the_neuron_is_chosen_on_select_and_scored_on_test(there: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    lucky = np.where(ROLES == "select", there, rng.random(N))
    honest = there + rng.normal(0, 0.5, N)
    found = one(np.stack([honest, lucky], axis=1), honest[:, None], there)
    assert found.chosen["it"].neurons.tolist() == [1]
    assert abs(found.found["it"].auroc[0] - 0.5) < 0.1


def test_the_probe_never_sees_select_verify_or_test(there: np.ndarray) -> None:
    # One-hot rows: a probe that was fitted on a row would know it by heart. Nothing is left to recover then.
    found = one(np.eye(N)[:, :3], np.eye(N), there)
    assert found.probe.auroc[0] == pytest.approx(0.5)
    assert found.recoverable == [False]
    assert np.isnan(found.share("it")[0][0])


def test_too_few_positives_on_select_or_test_are_not_evaluable() -> None:
    for role in ("select", "test"):
        y = (np.arange(N) % 2).astype(float)
        y[np.flatnonzero(role == ROLES)[19:]] = 0.0
        y[np.flatnonzero(role == ROLES)[:19]] = 1.0
        found = one(np.random.default_rng(4).random((N, 2)), y[:, None], y)
        assert not found.found["it"].usable[0]


def test_a_question_without_sense_leaves_its_films_out(there: np.ndarray) -> None:
    # The neuron says the contrary where the question makes no sense, which must count for nothing.
    sense = np.random.default_rng(5).random(N) < 0.5
    scores = np.where(sense, there, 1 - there)[:, None]
    found = one(scores, there[:, None], np.where(sense, there, np.nan))
    assert found.share("it")[0][0] == 1.0
    assert found.found["it"].n[0] == (sense & (ROLES == "test")).sum()


def test_means_are_over_what_can_be_recovered_and_differences_are_paired(there: np.ndarray) -> None:
    rng = np.random.default_rng(6)
    lost = (rng.random(N) < 0.4).astype(float)
    noisy = there + rng.normal(0, 0.7, N)
    questions = [Question("seen", "labelled", there), Question("lost", "labelled", lost)]
    methods = {"good": Candidates(noisy[:, None]), "same": Candidates(2 * noisy[:, None])}
    found = recover(methods, noisy[:, None], questions, ROLES, GROUPS)
    mean, low, high, count = found.mean_share("good", ("labelled",))
    assert (mean, low, high, count) == (pytest.approx(1.0), pytest.approx(1.0), pytest.approx(1.0), 1)
    assert found.less("good", "same", ("labelled",)) == (0.0, 0.0, 0.0)
    assert found.mean_share("good", ("side",))[3] == 0


def test_questions_of_one_mask_are_chosen_together_as_each_alone() -> None:
    rng = np.random.default_rng(7)
    scores = rng.standard_normal((N, 12))
    asked = [Question(str(at), "labelled", (rng.random(N) < 0.3).astype(float)) for at in range(5)]
    together = choose(Candidates(scores, True), asked, ROLES)
    alone = [choose(Candidates(scores, True), [question], ROLES) for question in asked]
    assert together.neurons.tolist() == [chosen.neurons[0] for chosen in alone]
    assert together.signs.tolist() == [chosen.signs[0] for chosen in alone]


def test_draws_in_which_the_probe_is_at_one_half_have_no_share() -> None:
    def told(draws: list[float]) -> Cells:
        return Cells(("it",), (100,), (50,), np.array([True]), np.array([0.7]), np.array(draws)[:, None])

    question = Question("it", "labelled", np.zeros(1))
    probe, found = told([0.9, 0.9, 0.5] + [0.9] * 197), told([0.7] * 200)
    both = Recovery((question,), {}, probe, {"a": found, "b": found})
    assert both.share("a")[1][:, 0] == pytest.approx(0.5)
    assert both.less("a", "b", ("labelled",)) == (0.0, 0.0, 0.0)

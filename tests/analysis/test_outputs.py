import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from growlattice.analysis import embed_models, output_divergence


def distances_between(points):
    return np.array([[math.dist(a, b) for b in points] for a in points])


def test_divergence_is_the_square_of_scipys_distance(rng):
    probas = rng.dirichlet(np.full(5, 0.3), size=(4, 7))
    probas[0, :3] = np.eye(5)[:3]  # with zeros
    divergence = output_divergence(probas)
    for i in range(4):
        for j in range(4):
            expected = np.mean([jensenshannon(p, q, base=2) ** 2 for p, q in zip(probas[i], probas[j], strict=True)])
            assert divergence[i, j] == pytest.approx(expected, abs=1e-12)
    assert np.array_equal(divergence, divergence.T)


def test_divergence_of_hand_worked_outputs():
    # The mixture is (3/4, 1/4), so H(3/4, 1/4) - H(1/2, 1/2) / 2 = 2 - 3/4 log2(3) - 1/2.
    divergence = output_divergence([[[1.0, 0.0]], [[0.5, 0.5]]])
    assert divergence[0, 1] == pytest.approx(1.5 - 0.75 * math.log2(3))


def test_divergence_lies_between_0_for_equal_and_1_for_disjoint_outputs(rng):
    probas = rng.dirichlet(np.ones(3), size=50)
    padded = np.stack([np.pad(probas, ((0, 0), (0, 3))), np.pad(probas, ((0, 0), (3, 0)))])
    assert output_divergence(padded)[0, 1] == pytest.approx(1)
    assert output_divergence(padded).max() <= 1
    assert np.array_equal(output_divergence([probas, probas]), np.zeros((2, 2)))
    assert np.array_equal(output_divergence([probas]), [[0]])


def test_divergence_of_single_precision_is_computed_in_double(rng):
    single = rng.dirichlet(np.ones(10), size=(3, 200)).astype(np.float32)
    double = single.astype(np.float64)
    assert output_divergence(single) == pytest.approx(output_divergence(double), rel=1e-12)
    assert output_divergence(single).dtype == np.float64


@pytest.mark.parametrize(
    "probas, message",
    [
        ([[[0.5, 0.6]]], "probas sums over its last axis to 1.1 up to 1.1, but to 1 was expected"),
        ([[[1.5, -0.5]]], "probas has the minimum -0.5, but probabilities are at least 0"),
        ([[[np.nan, 1.0]]], "probas has the minimum nan"),
        ([[0.5, 0.5]], r"probas has the shape \(1, 2\). Give an array of shape \(n_models, n_images, n_classes\)"),
        (np.zeros((2, 0, 3)), r"probas has the shape \(2, 0, 3\)"),
    ],
)
def test_bad_probabilities(probas, message):
    with pytest.raises(ValueError, match=message):
        output_divergence(probas)


def test_models_in_a_plane_are_found_again(rng):
    points = rng.normal(size=(12, 2))
    distances = distances_between(points)
    embedded = embed_models(distances**2, random_state=0)
    assert embedded.shape == (12, 2)
    assert distances_between(embedded) == pytest.approx(distances, abs=0.01)


def test_embedding_lies_centred_along_its_principal_axes_on_the_side_of_the_first_model(rng):
    points = rng.normal(size=(10, 2)) * [3, 1]
    for seed in range(5):
        embedded = embed_models(distances_between(points) ** 2, random_state=seed)
        assert embedded.mean(axis=0) == pytest.approx([0, 0], abs=1e-12)
        covariance = np.cov(embedded.T)
        assert covariance[0, 1] == pytest.approx(0, abs=1e-12)
        assert covariance[0, 0] > covariance[1, 1]
        assert (embedded[0] >= 0).all()


def test_embedding_follows_the_outputs(rng):
    probas = np.concatenate([rng.dirichlet(at, size=(4, 30)) for at in ([30, 1, 1], [1, 1, 30])])
    embedded = embed_models(output_divergence(probas), random_state=0)
    assert (np.sign(embedded[:, 0]) == [1] * 4 + [-1] * 4).all()
    distances = distances_between(embedded)
    assert distances[:4, 4:].min() > 2 * max(distances[:4, :4].max(), distances[4:, 4:].max())


def test_embedding_is_reproducible_and_leaves_the_global_random_state(rng):
    divergence = output_divergence(rng.dirichlet(np.ones(4), size=(6, 20)))
    before = np.random.get_state()[1].copy()
    first, second = (embed_models(divergence, random_state=3) for _ in range(2))
    embed_models(divergence)
    assert np.array_equal(first, second)
    assert np.array_equal(np.random.get_state()[1], before)


def test_models_that_are_alike_lie_together():
    assert np.array_equal(embed_models([[0.0]]), [[0, 0]])
    assert np.array_equal(embed_models(np.zeros((3, 3))), np.zeros((3, 2)))
    divergence = np.array([[0, 0, 1], [0, 0, 1], [1, 1, 0]]) * 0.09
    assert distances_between(embed_models(divergence, random_state=0)) == pytest.approx(np.sqrt(divergence), abs=1e-3)


@pytest.mark.parametrize(
    "divergence",
    [
        np.zeros((2, 3)),
        [[0.0, 0.5], [0.4, 0.0]],
        [[0.0, -0.5], [-0.5, 0.0]],
        [[1.0, 0.5], [0.5, 1.0]],
    ],
)
def test_bad_divergence(divergence):
    with pytest.raises(ValueError, match="must be square, symmetric, at least 0, and 0 on the diagonal"):
        embed_models(divergence)


def test_divergence_that_is_no_matrix_or_not_finite():
    with pytest.raises(ValueError, match=r"divergence has the shape \(3,\)"):
        embed_models(np.zeros(3))
    with pytest.raises(ValueError, match="divergence holds 1 values that are NaN or infinite"):
        embed_models([[0.0, np.nan], [0.0, 0.0]])

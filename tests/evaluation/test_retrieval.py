"""Neighbours, class means and retrieval against double loops, scikit-learn, closed forms."""

import builtins
import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from bce3s.errors import BCE3SError
from bce3s.evaluation import retrieval
from bce3s.evaluation.accuracy import split_means
from bce3s.evaluation.arrays import unit_rows
from bce3s.evaluation.retrieval import (
    average_precision_at_r,
    evaluate_retrieval,
    nearest_class_mean,
    neighbours,
    recall_at_k,
    retrieval_figures,
    similarity_weights,
    vote,
)

K = 5
COUNTS = [200, 150, 60, 30, 8]  # many, many, medium, medium, few


@pytest.fixture(scope='module')
def data():
    """Overlapping classes with an offset; the gallery is long-tailed."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(K, 6))
    gallery_labels = np.repeat(np.arange(K), [40, 25, 12, 6, 2])
    query_labels = rng.permutation(np.repeat(np.arange(K), [9, 7, 8, 6, 5]))
    noise = rng.normal(size=(len(gallery_labels) + len(query_labels), 6))
    features = centres[np.concatenate([gallery_labels, query_labels])] + noise + 0.5
    split = len(gallery_labels)
    return features[split:], query_labels, features[:split], gallery_labels


# ------------------------------------------------------------ oracles
def score(x, y, metric):
    if metric == 'euclidean':
        return -sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    dot = sum(a * b for a, b in zip(x, y, strict=True))
    return dot / math.sqrt(sum(a * a for a in x) * sum(b * b for b in y))


def ranking(i, queries, gallery, metric, own=False):
    """Indices of the gallery from the nearest on; the query itself left out by its index."""
    others = [j for j in range(len(gallery)) if not (own and j == i)]
    return sorted(others, key=lambda j: (-score(queries[i], gallery[j], metric), j))


def voted(labels, weights):
    """Sum by class; of equal sums the class that comes first."""
    sums = {}
    for label, weight in zip(labels, weights, strict=True):
        sums[label] = sums.get(label, 0.0) + weight
    return next(c for c in labels if sums[c] == max(sums.values()))


def map_at_r(relevant, r):
    total = 0.0
    for i in range(1, r + 1):
        if relevant[i - 1]:
            total += sum(relevant[:i]) / i
    return total / r


def figures_by_loops(queries, labels, gallery, pool, ks, metric, tau, own=False):
    figures = {}
    for i, label in enumerate(labels):
        order = ranking(i, queries, gallery, metric, own)
        found = [int(pool[j]) for j in order]
        scores = [score(queries[i], gallery[j], metric) for j in order]
        relevant = [c == label for c in found]
        row = {'map_r': map_at_r(relevant, sum(relevant)) if any(relevant) else math.nan}
        for k in ks:
            row[f'knn_{k}'] = voted(found[:k], [1.0] * k) == label
            row[f'recall_{k}'] = float(any(relevant[:k])) if any(relevant) else math.nan
            if metric == 'cosine':
                weights = [math.exp(s / tau) for s in scores[:k]]
                row[f'weighted_{k}'] = voted(found[:k], weights) == label
        for name, value in row.items():
            figures.setdefault(name, []).append(value)
    return figures


# ------------------------------------------------------------ all together
@pytest.mark.parametrize('metric', ['cosine', 'euclidean'])
@pytest.mark.parametrize('own', [False, True])
def test_figures_equal_double_loops(data, metric, own, monkeypatch):
    queries, labels, gallery, pool = data
    ks = [1, 3, 4, 10]
    if own:
        queries, labels = gallery, pool
    slow = figures_by_loops(queries, labels, gallery, pool, ks, metric, 0.1, own)
    given = (None, None) if own else (gallery, pool)
    monkeypatch.setattr(retrieval, 'ENTRIES', 800)  # several blocks
    fast = retrieval_figures(queries, labels, *given, K, ks, metric, 0.1)
    assert set(fast) == set(slow)
    for name in slow:
        np.testing.assert_allclose(fast[name], slow[name], atol=1e-12, err_msg=name)
    assert 0.2 < np.mean(fast['knn_3']) < 0.95  # neither all right nor all wrong


def test_report_has_means_over_classes_and_over_queries(data):
    queries, labels, gallery, pool = data
    figures = retrieval_figures(queries, labels, gallery, pool, K, [3])
    report = evaluate_retrieval(queries, labels, gallery, pool, COUNTS, ks=[3])
    assert (report['queries'], report['gallery'], report['without_relevant']) == (35, 85, 0)
    for name, column in figures.items():
        means = [100 * np.mean(column[labels == k]) for k in range(K)]
        expected = {
            'all': sum(means) / K,
            'many': (means[0] + means[1]) / 2,
            'medium': (means[2] + means[3]) / 2,
            'few': means[4],
            'plain': 100 * np.mean(column),
        }
        assert report['figures'][name] == pytest.approx(expected, abs=1e-9)
    assert report['figures']['map_r']['all'] != pytest.approx(report['figures']['map_r']['plain'])


def test_torch_tensors_give_the_same(data):
    arrays = evaluate_retrieval(*data, COUNTS)
    assert evaluate_retrieval(*map(torch.as_tensor, data), COUNTS) == arrays


def test_scikit_learn_agrees_where_the_majority_is_clear(data):
    queries, _, gallery, pool = data
    for k in (1, 5, 8):
        theirs = KNeighborsClassifier(k).fit(gallery, pool)
        shares = np.sort(theirs.predict_proba(queries), axis=1)
        clear = shares[:, -1] > shares[:, -2]
        (_, _, indices), *rest = neighbours(queries, gallery, k, 'euclidean')
        ours = vote(pool[indices], K, [k])[k]
        assert not rest
        assert clear.sum() > 20
        np.testing.assert_array_equal(ours[clear], theirs.predict(queries)[clear])


# ------------------------------------------------------------ search
@pytest.mark.parametrize('metric', ['cosine', 'euclidean'])
@pytest.mark.parametrize('block', [1, 7, 35, 1000])
def test_blocks_of_any_size_find_the_same(data, metric, block):
    queries, _, gallery, _ = data
    (_, scores, indices), *_ = neighbours(queries, gallery, 9, metric)
    blocks = list(neighbours(queries, gallery, 9, metric, block))
    assert [part.rows.start for part in blocks] == list(range(0, 35, min(block, 35)))
    np.testing.assert_array_equal(np.concatenate([b.indices for b in blocks]), indices)
    np.testing.assert_allclose(np.concatenate([b.scores for b in blocks]), scores, rtol=1e-4)


def test_scores_are_cosines_or_minus_squared_distances(data):
    queries, _, gallery, _ = data
    for metric in retrieval.METRICS:
        (_, scores, indices), *_ = neighbours(1e3 * queries, 1e3 * gallery, 4, metric)
        unit = 1e6 if metric == 'euclidean' else 1
        for i, j in np.ndindex(*scores.shape):
            true = unit * score(queries[i], gallery[indices[i, j]], metric)
            assert scores[i, j] == pytest.approx(true, rel=1e-4)


@pytest.mark.parametrize('metric', ['cosine', 'euclidean'])
def test_self_is_left_out_by_index_even_among_exact_copies(metric):
    """Three copies of each feature: whichever of them faiss finds first, the other two remain."""
    rng = np.random.default_rng(1)
    features = np.repeat(rng.normal(size=(8, 3)), 3, axis=0)
    for k in (1, 2, 3, 23):
        (_, scores, indices), *_ = neighbours(features, None, k, metric)
        assert indices.shape == (24, k)
        for i, row in enumerate(indices):
            assert i not in row
            assert len(set(row)) == k
            copies = {3 * (i // 3) + c for c in range(3)} - {i}
            assert set(row[:2]) <= copies
        assert (np.diff(scores, axis=1) <= 0).all()


def test_copies_that_crowd_the_query_out_cost_no_neighbour():
    """All features equal: the query need not be among the k + 1 that are found."""
    (_, _, indices), *_ = neighbours(np.ones((50, 4)), None, 3)
    assert indices.shape == (50, 3)
    assert all(i not in row for i, row in enumerate(indices))


def test_a_query_that_is_crowded_out_loses_its_farthest_neighbour(monkeypatch):
    """Copies score as high as the query itself, or a rounding higher: k + 1 of them hide it."""

    class Found:
        def search(self, queries, k):
            assert k == 3
            scores = np.float32([[1.5, 1.25, 1.0]] * len(queries))
            return scores, np.array([[3, 2, 1]] * len(queries))

    monkeypatch.setattr(retrieval, '_index', lambda *_: Found())
    (found,) = neighbours(np.ones((4, 2)), None, 2)
    assert found.indices.tolist() == [[3, 2], [3, 2], [3, 1], [2, 1]]
    assert found.scores.tolist() == [[1.5, 1.25], [1.5, 1.25], [1.5, 1.0], [1.25, 1.0]]


def test_equal_scores_are_ordered_by_index():
    gallery = np.array([[1.0, 0], [0, 1], [1, 0], [1, 0], [0, 1]])
    for metric in retrieval.METRICS:
        (_, _, indices), *_ = neighbours(np.array([[2.0, 0.1]]), gallery, 5, metric)
        assert indices.tolist() == [[0, 2, 3, 1, 4]]


def test_distances_far_from_the_origin_keep_their_digits():
    """Float32 squares of 4096 + x would lose x."""
    rng = np.random.default_rng(4)
    far = [(rng.normal(size=(n, 64)) + 4096).astype(np.float32) for n in (50, 400)]
    (_, _, found), *_ = neighbours(*far, 10, 'euclidean')
    queries, gallery = (part.astype(np.float64) for part in far)
    distances = ((queries[:, None] - gallery) ** 2).sum(axis=-1)
    np.testing.assert_array_equal(found, distances.argsort(axis=1)[:, :10])


@pytest.mark.parametrize('size', [1e-30, 1e30])
@pytest.mark.parametrize('metric', ['cosine', 'euclidean'])
def test_the_unit_of_the_features_does_not_matter(data, metric, size):
    queries, labels, gallery, pool = data
    expected = retrieval_figures(queries, labels, gallery, pool, K, metric=metric)
    found = retrieval_figures(size * queries, labels, size * gallery, pool, K, metric=metric)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
    means = nearest_class_mean(queries, gallery, pool, K, metric)
    np.testing.assert_array_equal(
        nearest_class_mean(size * queries, size * gallery, pool, K, metric), means
    )


def test_order_rotation_and_names_of_classes_do_not_matter(data):
    queries, labels, gallery, pool = data
    rng = np.random.default_rng(2)
    rotation, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    shuffle, names = rng.permutation(len(pool)), rng.permutation(K)
    counts = np.empty(K, dtype=int)
    counts[names] = COUNTS
    expected = evaluate_retrieval(queries, labels, gallery, pool, COUNTS)
    found = evaluate_retrieval(
        queries @ rotation, names[labels], gallery[shuffle] @ rotation, names[pool][shuffle], counts
    )
    for name, means in expected['figures'].items():
        assert found['figures'][name] == pytest.approx(means, abs=1e-4)


# ------------------------------------------------------------ votes and ranks by hand
def test_votes_by_hand():
    labels = np.array([[2, 0, 0, 1, 1], [1, 1, 0, 0, 0]])
    found = vote(labels, 3, [1, 2, 3, 4, 5])
    assert [found[k].tolist() for k in (1, 2, 3, 4, 5)] == [[2, 1], [2, 1], [0, 1], [0, 1], [0, 0]]
    weights = np.array([[1.0, 0.4, 0.4, 0.5, 0.5], [1.0, 0.1, 0.5, 0.5, 0.5]])
    assert vote(labels, 3, [3, 5], weights)[5].tolist() == [2, 0]


def test_similarity_weights_do_not_overflow():
    weights = similarity_weights(np.array([[0.9, 0.2]], dtype=np.float32), 1e-3)
    assert weights[0, 0] == 1
    assert weights[0, 1] == pytest.approx(math.exp(-700), rel=1e-2)


def test_a_temperature_of_zero_or_infinity_is_the_nearest_or_the_majority(data):
    queries, labels, gallery, pool = data
    cold = retrieval_figures(queries, labels, gallery, pool, K, [9], tau=1e-6)
    warm = retrieval_figures(queries, labels, gallery, pool, K, [1, 9], tau=1e9)
    np.testing.assert_array_equal(cold['weighted_9'], warm['knn_1'])
    clear = warm['weighted_9'] == warm['knn_9']
    assert clear.mean() > 0.9  # up to equal votes


def test_ranks_by_hand():
    relevant = np.array([[1, 0, 1, 1], [0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]], dtype=bool)
    found = average_precision_at_r(relevant, np.array([3, 2, 1, 0]))
    np.testing.assert_allclose(found[:3], [(1 + 2 / 3) / 3, 0, 0])
    assert np.isnan(found[3])
    assert recall_at_k(relevant, 1).tolist() == [1, 0, 0, 0]
    assert recall_at_k(relevant, 4).tolist() == [1, 1, 1, 0]


def test_recall_grows_with_k_and_map_at_r_is_100_only_for_a_perfect_ranking(data):
    queries, labels, gallery, pool = data
    report = evaluate_retrieval(queries, labels, gallery, pool, COUNTS, ks=range(1, 20))['figures']
    recalls = [report[f'recall_{k}']['all'] for k in range(1, 20)]
    assert recalls == sorted(recalls)
    assert report['recall_1'] == report['knn_1'] == report['weighted_1']
    collapsed = evaluate_retrieval(np.eye(K)[labels], labels, np.eye(K)[pool], pool, COUNTS)
    for name, means in collapsed['figures'].items():
        if name in ('map_r', 'knn_1', 'weighted_20') or name.startswith('recall'):
            assert set(means.values()) == {100.0}


def test_features_without_information_score_the_share_of_the_class():
    """E[MAP@R] of a random order is (about) (R / G)^2 (1 + ...) small; Recall@1 is R / G."""
    rng = np.random.default_rng(3)
    labels, pool = np.repeat([0, 1], 2000), np.repeat([0, 1], [300, 100])
    queries, gallery = rng.normal(size=(4000, 50)), rng.normal(size=(400, 50))
    found = retrieval_figures(queries, labels, gallery, pool, 2, [1])
    for k, share in ((0, 0.75), (1, 0.25)):
        assert found['recall_1'][labels == k].mean() == pytest.approx(share, abs=0.06)
        # MAP@R = 1/R sum_i E[P(i) rel(i)], E = p ((i - 1) (R - 1)/(G - 1) + 1)/i
        size = (300, 100)[k]
        expected = sum(share * ((i - 1) * (size - 1) / 399 + 1) / i for i in range(1, size + 1))
        assert found['map_r'][labels == k].mean() == pytest.approx(expected / size, rel=0.05)


# ------------------------------------------------------------ nearest class mean
@pytest.mark.parametrize('metric', ['cosine', 'euclidean'])
def test_nearest_class_mean_equals_loops(data, metric):
    queries, labels, gallery, pool = data
    # long features of one class among short ones: their mean is another if they are not normalised
    gallery = gallery * np.random.default_rng(5).lognormal(0, 1.5, (len(gallery), 1))
    right = 0
    for i, found in enumerate(nearest_class_mean(queries, gallery, pool, K, metric)):
        means = []
        for k in range(K):
            mine = [g for g, y in zip(gallery, pool, strict=True) if y == k]
            if metric == 'cosine':
                mine = [g / math.sqrt(sum(g * g)) for g in mine]
            means.append(sum(mine) / len(mine))
        scores = [score(queries[i], mean, metric) for mean in means]
        assert found == scores.index(max(scores))
        right += found == labels[i]
    assert 10 < right < 35


def test_nearest_class_mean_equals_scikit_learn(data):
    queries, _, gallery, pool = data
    theirs = NearestCentroid().fit(gallery, pool).predict(queries)
    ours = nearest_class_mean(queries, gallery, pool, K, 'euclidean')
    np.testing.assert_array_equal(ours, theirs)
    far = nearest_class_mean(queries + 1e4, gallery + 1e4, pool, K, 'euclidean')
    np.testing.assert_array_equal(far, theirs)


# ------------------------------------------------------------ bad input
def test_a_class_without_gallery_features(data):
    """It is never predicted, and retrieval has nothing to find: no figure, not 0."""
    queries, labels, gallery, pool = data
    gallery, pool = gallery[pool != 4], pool[pool != 4]
    report = evaluate_retrieval(queries, labels, gallery, pool, COUNTS, ks=[1, 3])
    assert report['without_relevant'] == (labels == 4).sum()
    figures = report['figures']
    assert figures['knn_3']['few'] == figures['weighted_3']['few'] == 0
    assert figures['map_r']['few'] is figures['recall_1']['few'] is None
    others = [figures['map_r'][split] for split in ('many', 'medium')]
    assert figures['map_r']['all'] == pytest.approx(np.mean(others))


@pytest.mark.parametrize('metric', ['cosine', 'euclidean'])
@pytest.mark.parametrize('absent', [0, 2, 4])
def test_a_class_without_gallery_features_has_no_mean(data, metric, absent):
    queries, _, gallery, pool = data
    gallery, pool = gallery[pool != absent], pool[pool != absent]
    found = nearest_class_mean(queries, gallery, pool, K, metric)
    names = np.delete(np.arange(K), absent)
    again = nearest_class_mean(queries, gallery, np.searchsorted(names, pool), K - 1, metric)
    assert absent not in found
    np.testing.assert_array_equal(found, names[again])


def test_a_class_of_one_has_nothing_to_find_but_itself():
    features, labels = np.random.default_rng(0).normal(size=(7, 3)), np.array([0, 0, 0, 1, 1, 1, 2])
    report = evaluate_retrieval(features, labels, None, None, [200, 50, 5], ks=[1, 5])
    assert report['without_relevant'] == 1
    assert report['figures']['map_r']['few'] is None
    assert report['figures']['knn_5']['few'] == 0


def test_one_class_only_is_all_right():
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(4, 3)), rng.normal(size=(9, 3))
    report = evaluate_retrieval(queries, [0] * 4, gallery, [0] * 9, [300], ks=[1, 9])
    for means in report['figures'].values():
        assert means == pytest.approx(
            {'all': 100, 'many': 100, 'medium': None, 'few': None, 'plain': 100}
        )
    for metric in retrieval.METRICS:
        assert not nearest_class_mean(queries, gallery, [0] * 9, 1, metric).any()


def test_more_classes_than_dimensions():
    labels = np.repeat(np.arange(12), 3)
    angles = 2 * np.pi * labels / 12
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    report = evaluate_retrieval(features, labels, features, labels, [300] * 12, ks=[3])
    assert report['figures']['knn_3']['all'] == report['figures']['map_r']['all'] == 100


def test_features_of_length_zero_have_cosine_zero(data):
    queries, labels, gallery, pool = data
    assert not unit_rows(np.zeros((2, 3))).any()
    zero, first = np.zeros_like(queries[:3]), neighbours(np.zeros((3, 6)), gallery, 4)
    assert not next(iter(first)).scores.any()
    report = evaluate_retrieval(
        np.concatenate([zero, queries[3:]]), labels, 0 * gallery, pool, COUNTS
    )
    for means in report['figures'].values():
        assert all(0 <= value <= 100 for value in means.values())
    for metric in retrieval.METRICS:
        assert not nearest_class_mean(
            zero, 0 * gallery, pool, K, metric
        ).any()  # of equals the first


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf, 1e39])
def test_features_that_are_not_finite(data, value):
    queries, labels, gallery, pool = data
    broken = queries.copy()
    broken[7, 2] = value
    for call in (
        lambda: evaluate_retrieval(broken, labels, gallery, pool, COUNTS),
        lambda: evaluate_retrieval(broken, labels, None, None, COUNTS),
        lambda: nearest_class_mean(broken, gallery, pool, K),
    ):
        with pytest.raises(BCE3SError, match='query features of sample 7 are not finite'):
            call()
    with pytest.raises(BCE3SError, match='gallery features of sample 7 are not finite'):
        evaluate_retrieval(gallery, pool, broken, labels, COUNTS)


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ({'ks': [86]}, 'k is 86, but the gallery has 85 features: use k between 1'),
        ({'gallery': None, 'pool': None, 'ks': [35]}, 'has 34 features besides the query itself'),
        ({'ks': [0, 5]}, 'from 1 on'),
        ({'ks': []}, 'from 1 on'),
        ({'labels': [0] * 34}, 'There are 35 samples but the labels'),
        ({'pool': [0] * 84}, 'There are 85 samples but the labels'),
        ({'pool': [0] * 84 + [5]}, r'classes 0..4, but sample 84 has 5'),
        ({'labels': [-1] + [0] * 34}, r'classes 0..4, but sample 0 has -1'),
        ({'labels': [0.5] * 35}, 'must be integers'),
        ({'queries': np.ones((35, 7))}, 'have 7 dimensions, the gallery features 6'),
        ({'queries': np.ones(35)}, 'must be a matrix'),
        ({'queries': np.ones((0, 6)), 'labels': []}, 'There is no sample'),
        ({'metric': 'manhattan'}, "metric is 'manhattan'"),
    ],
)
def test_bad_arguments_are_sentences(data, change, sentence):
    names = ('queries', 'labels', 'gallery', 'pool')
    given = dict(zip(names, data, strict=True)) | change
    options = {key: given[key] for key in ('ks', 'metric') if key in given}
    with pytest.raises(BCE3SError, match=sentence):
        evaluate_retrieval(*(given[name] for name in names), COUNTS, **options)


def test_without_faiss_there_is_a_sentence(data, monkeypatch):
    original = builtins.__import__

    def no_faiss(name, *args, **kwargs):
        if name == 'faiss':
            raise ImportError('No module named faiss')
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', no_faiss)
    with pytest.raises(BCE3SError, match='pip install faiss-cpu'):
        next(neighbours(data[0], data[2], 1))


def test_a_gpu_is_used_where_faiss_sees_one_and_can(data, monkeypatch):
    """With faiss's GPU calls replaced: which index is asked to search, not what it finds."""
    import faiss

    moved = []
    monkeypatch.setattr(faiss, 'get_num_gpus', lambda: 1)
    monkeypatch.setattr(faiss, 'StandardGpuResources', object, raising=False)
    move = lambda _, device, index: moved.append(device) or index  # noqa: E731
    monkeypatch.setattr(faiss, 'index_cpu_to_gpu', move, raising=False)
    expected = [b.indices for b in neighbours(data[0], data[2], 5)]
    assert moved == [0]
    monkeypatch.setattr(retrieval, 'GPU_MAX_K', 4)
    found = [b.indices for b in neighbours(data[0], data[2], 5)]
    assert moved == [0]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_results(data, monkeypatch):
    faiss = pytest.importorskip('faiss')
    if not faiss.get_num_gpus():
        pytest.skip('faiss sees no GPU')
    on_gpu = evaluate_retrieval(*data, COUNTS)
    monkeypatch.setattr(faiss, 'get_num_gpus', lambda: 0)
    assert evaluate_retrieval(*data, COUNTS) == on_gpu


def test_split_means_of_undefined_figures():
    means = split_means([1.0, np.nan, np.nan, 3.0], [0, 0, 1, 2], [200, 50, 5])
    assert means == {'all': 2.0, 'many': 1.0, 'medium': None, 'few': 3.0, 'plain': 2.0}
    assert set(split_means([np.nan], [0], [200]).values()) == {None}

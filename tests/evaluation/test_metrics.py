"""The metric collects, deduplicates and names; the figures themselves are accuracy.py's."""

import pytest
import torch

from bce3s.engine.metric import LongTailedMetric
from bce3s.errors import BCE3SError
from bce3s.registry import METRICS

META = {'class_counts': [200, 50, 5]}


def samples(labels, preds, flipped=None, indices=None):
    rows = [
        {'index': i, 'label': y, 'pred': p}
        for i, y, p in zip(indices or range(len(labels)), labels, preds, strict=True)
    ]
    for row, pred in zip(rows, flipped or [], strict=False):
        row['pred_flip_tta'] = pred
    return rows


def run(rows, size=None, meta=META, **kwargs):
    metric = LongTailedMetric(**kwargs)
    metric.dataset_meta = meta
    for row in rows:  # batches of one
        metric.process(None, [row])
    return metric, metric.evaluate(size or len(rows))


def test_plain_keys_without_prefix():
    metric, logged = run(samples([0, 1, 2, 2], [0, 0, 2, 1]))
    assert logged == {'all': 50.0, 'many': 100.0, 'medium': 0.0, 'few': 50.0}
    assert metric.summary['plain']['accuracy'] == 50.0
    assert metric.summary['plain']['macro_f1'] == pytest.approx(100 * (2 / 3 + 0 + 2 / 3) / 3)
    assert metric.summary['plain']['per_class'] == [100.0, 0.0, 50.0]
    assert set(metric.summary) == {'plain'}
    assert metric.results == []


def test_flip_tta_is_named_as_such():
    metric, logged = run(samples([0, 1, 2], [0, 0, 2], flipped=[0, 1, 2]))
    assert logged['all'] == pytest.approx(200 / 3)
    assert logged['all_flip_tta'] == 100.0
    assert not {'many_flip_tta', 'accuracy'} & logged.keys()
    assert metric.summary['flip_tta']['per_class'] == [100.0] * 3


def test_empty_split_is_not_logged():
    _, logged = run(samples([0, 1], [0, 1]), meta={'class_counts': [200, 150]})
    assert {'medium', 'few'}.isdisjoint(logged)
    assert logged['many'] == 100.0


def test_a_padded_sample_counts_once():
    rows = samples([0, 0, 1, 1, 1], [0, 1, 1, 1, 1], indices=[7, 3, 4, 4, 4])
    metric, logged = run(rows)
    assert metric.summary['plain']['samples'] == 3
    assert metric.summary['plain']['accuracy'] == pytest.approx(200 / 3)
    assert logged['all'] == 75.0


def test_skipped_samples_do_not_count():
    metric = LongTailedMetric()
    metric.dataset_meta = META
    rows = samples([0, 0, 1, 2, 2], [0, 1, 1, 0, 2], indices=[5, 6, 7, 8, 8])
    flags = torch.tensor([False, True, False, True, True])  # the last one is padding
    for i in (0, 2):
        batch = {'inputs': None, 'data_samples': {'skipped': flags[i : i + 3]}}
        metric.process(batch, rows[i : i + 3])
    logged = metric.evaluate(4)
    assert (metric.skipped, metric.summary['plain']['samples']) == (2, 2)
    assert logged['all'] == 100.0
    assert 'few' not in logged
    metric.process({'data_samples': {}}, rows[1:2])
    assert metric.evaluate(1)['all'] == 0.0
    assert metric.skipped == 0


def test_nothing_but_skipped_samples_is_a_sentence():
    metric = LongTailedMetric()
    metric.dataset_meta = META
    metric.process({'data_samples': {'skipped': torch.tensor([True])}}, samples([0], [0]))
    with pytest.raises(BCE3SError, match='no sample'):
        metric.evaluate(1)


LABELS = [k % 3 for k in range(23)]
PREDS = [k * k % 3 for k in range(23)]
SHARES = {
    'uneven': [list(range(0, 23, 2)), list(range(1, 23, 2))],
    'padded': [list(range(0, 23, 2)), [*range(1, 23, 2), 0]],
    'one has nothing': [list(range(23)), []],
    'in blocks': [list(range(9)), list(range(9, 23))],
}


def evaluate_share(rank, folder, share):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2
    )
    metric = LongTailedMetric()
    metric.dataset_meta = META
    for i in SHARES[share][rank]:
        batch = {'data_samples': {'skipped': torch.tensor([i == 4])}}
        metric.process(batch, samples(LABELS[i : i + 1], PREDS[i : i + 1], indices=[i]))
    logged = metric.evaluate(23)
    torch.save([logged, metric.summary, metric.skipped], folder / f'{rank}.pt')
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize('share', SHARES)
def test_two_processes_have_the_numbers_of_one(tmp_path, share):
    torch.multiprocessing.start_processes(
        evaluate_share, (tmp_path, share), nprocs=2, start_method='fork'
    )
    kept = [i for i in range(23) if i != 4]
    metric, logged = run(samples([LABELS[i] for i in kept], [PREDS[i] for i in kept]))
    for rank in (0, 1):
        found = torch.load(tmp_path / f'{rank}.pt', weights_only=True)
        assert found == [logged, metric.summary, 1]


def test_a_second_evaluation_starts_afresh():
    metric, _ = run(samples([0, 1], [0, 1], flipped=[0, 1]))
    metric.process(None, samples([0, 1], [1, 1]))
    assert metric.evaluate(2)['all'] == 50.0
    assert set(metric.summary) == {'plain'}


def test_thresholds_are_the_metrics():
    _, logged = run(samples([0, 1, 2], [0, 0, 2]), many=49, few=10)
    assert (logged['many'], logged['few']) == (50.0, 100.0)
    assert 'medium' not in logged


def test_registered():
    metric = METRICS.build({'type': 'LongTailedMetric', 'few': 10})
    assert metric.thresholds.few == 10


@pytest.mark.parametrize('meta', [None, {}, {'classes': ['a']}])
def test_missing_class_counts_is_a_sentence(meta):
    with pytest.raises(BCE3SError, match='class_counts'):
        run(samples([0], [0]), meta=meta)


def test_label_of_another_data_set_is_a_sentence():
    with pytest.raises(BCE3SError, match=r'0\.\.2'):
        run(samples([0, 3], [0, 0]))


def test_scores_are_kept_in_the_order_of_the_samples():
    """Whatever process had them: halves for a threshold go by position."""
    rows = samples([0, 1, 2], [0, 1, 2], indices=[5, 9, 2])
    for place, row in enumerate(rows):
        row['scores'] = torch.eye(3)[place] * (place + 1)
    metric, _ = run(rows)
    assert metric.extremes.labels.tolist() == [2, 0, 1]
    assert metric.extremes.own.tolist() == [3.0, 1.0, 2.0]


def test_scores_and_a_label_of_another_data_set_are_a_sentence():
    rows = samples([0, 7], [0, 1])
    for row in rows:
        row['scores'] = torch.zeros(3)
    with pytest.raises(BCE3SError, match=r'classes 0\.\.2, but sample 1 has 7'):
        run(rows)


def test_no_sample_is_a_sentence():
    metric = LongTailedMetric()
    metric.dataset_meta = META
    with pytest.raises(BCE3SError, match='no sample'):
        metric.evaluate(0)

"""Every config is whole: it passes the strict key check, and its parts fit together."""

from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

from bce3s.cli import load_config
from bce3s.datasets.long_tailed import class_counts
from bce3s.registry import DATASETS, MODELS

ROOT = Path(__file__).resolve().parents[1]
LEAVES = sorted(
    path for folder in ('bce3s', 'baselines') for path in (ROOT / 'configs' / folder).rglob('*.py')
)


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_config_is_whole(path):
    cfg = load_config(str(path), [])
    assert f'python tools/train.py {path.relative_to(ROOT)}' in path.read_text()
    with DefaultScope.overwrite_default_scope('bce3s'):
        model = MODELS.build(cfg.model)
        dataset = DATASETS.get(cfg.train_dataloader.dataset.type)
    assert model.head.num_classes == len(dataset.classes)
    paired = cfg.train_dataloader.batch_sampler.type == 'PairedBatchSampler'
    assert model.data_preprocessor.paired == paired
    train, val = (
        {k: v for k, v in loader.dataset.items() if k != 'split'}
        for loader in (cfg.train_dataloader, cfg.val_dataloader)
    )
    assert train == val  # so the evaluation set carries the training counts
    counts = class_counts(dataset.default_n_max, len(dataset.classes), train['imbalance_factor'])
    model_classes = model.head.classifier.weight.shape[0]
    assert len(counts) == model_classes


def test_published_values_stand_in_the_reproduction_config():
    """method.md's recipe, line by line, as the R34 config has it."""
    cfg = load_config(str(ROOT / 'configs/bce3s/cifar100lt_if100.py'), [])
    assert cfg.train_cfg.max_epochs == 330
    assert cfg.custom_hooks[0].finetune_epochs == 10
    assert cfg.custom_hooks[0].freeze_norm is False
    assert dict(cfg.optim_wrapper.optimizer) == dict(
        type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-3
    )
    assert cfg.train_dataloader.batch_size == 64
    assert cfg.train_dataloader.dataset.get('rule', 'first_n') == 'first_n'
    head = cfg.model.head
    assert head.joint.resample == 0.4
    assert head.contrastive.tau == 1.0
    assert dict(head.weights) == dict(joint=1.0, contrastive=0.1, uniformity=1.0)
    assert head.beta == 0.99999
    quirks = head.joint, head.contrastive, head.uniformity, cfg.model.data_preprocessor.mix[1]
    assert (quirks[0].soft_negatives, quirks[0].drop_positives, quirks[0].clamp) == (
        False,
        True,
        64.0,
    )
    assert (quirks[1].soft_negatives, quirks[1].start_epoch) == (False, 1)
    assert quirks[2].include_diagonal is True
    assert quirks[3].correct_lambda is False

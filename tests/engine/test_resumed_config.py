"""A resumed run with another config is told what differs; a changed rate takes effect."""

import re
from unittest import mock

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from torch import nn
from toy_runs import Trace, equal, run, state

from bce3s.engine.checkpoint import (
    as_json,
    changes,
    check_course,
    sentence,
    take_over_rates,
)
from bce3s.engine.schedule import CosineLRHook
from bce3s.errors import BCE3SError

CFG = dict(
    model=dict(type='Net', width=3, mean=(0.5, float('inf')), name='a "quoted" one'),
    hooks=[dict(type='TwoStageHook', lr=0.1), dict(type='B')],
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9), clip_grad=None),
    work_dir='here',
    default_hooks=dict(checkpoint=dict(interval=1), schedule=dict(type='CosineLRHook', shift=0.0)),
)


def meta(**changed):
    cfg = Config(CFG)
    cfg.merge_from_dict(changed)
    return dict(experiment=as_json(cfg))


def test_keys_that_differ_are_named():
    assert changes(Config(CFG), meta()) == {}
    assert changes(Config(CFG), meta(work_dir='there')) == {}
    assert changes(Config(CFG), meta(**{'default_hooks.checkpoint.interval': 2})) == {}
    assert changes(Config(CFG), {}) == {}
    was = meta(**{
        'model.width': 4, 'hooks.0.lr': 0.2, 'optim_wrapper.optimizer.lr': 0.2,
        'optim_wrapper.optimizer.momentum': 0.5, 'model.old': 'x',
        'default_hooks.schedule.shift': 1.0,
    })  # fmt: skip
    found = changes(Config(CFG), was)
    assert found == {
        'model.width': ('4', '3'),
        'hooks.0.lr': ('0.2', '0.1'),
        'optim_wrapper.optimizer.lr': ('0.2', '0.1'),
        'optim_wrapper.optimizer.momentum': ('0.5', '0.9'),
        'model.old': ("'x'", 'nothing'),
        'default_hooks.schedule.shift': ('1.0', '0.0'),
    }
    text = sentence(found, (0, 1), True)
    assert 'hooks.0.lr: 0.2 -> 0.1; ' in text
    assert 'model.width: 4 -> 3; ' in text
    assert 'optimizer.lr: 0.2 -> 0.1 (takes effect)' in text
    assert "momentum: 0.5 -> 0.9 (the checkpoint's stays in force)" in text
    assert "seed: 0 -> 1 (the checkpoint's stays in force)" in text
    assert sentence({}, (0, 0), False) == sentence({}, (None, 0), False) == ''
    many = {f'model.k{i}': ('0', '1') for i in range(50)}
    assert '... (50 in all)' in sentence(many, (0, 0), False)


def test_a_changed_rate_takes_effect_on_schedule_and_optimiser():
    layer = nn.Linear(1, 1)
    groups = [dict(params=[layer.weight], lr=0.05, initial_lr=0.1),
              dict(params=[layer.bias], lr=0.3)]  # fmt: skip
    wrapper = OptimWrapper(torch.optim.SGD(groups, lr=0.1))
    scheduler = mock.Mock(param_name='lr', base_values=[0.1, 0.3, 0.1])
    configured = [0.2, 0.6, 0.1]
    assert take_over_rates(wrapper, [scheduler], configured)
    first, second = wrapper.optimizer.param_groups
    assert (first['lr'], first['initial_lr'], second['lr']) == (0.1, 0.2, 0.3)
    assert scheduler.base_values == [0.2, 0.3, 0.1]
    assert take_over_rates(wrapper, None, configured, constant=True)
    assert second['lr'] == 0.6
    assert not take_over_rates(wrapper, None, configured, constant=True)


@pytest.mark.parametrize('kind', ['constant', 'hook', 'scheduler'])
def test_in_a_run(tmp_path, kind):
    def build(folder, lr, **kw):
        runner = run(
            folder,
            lr=lr,
            schedule=dict(type='LinearLR', start_factor=0.5, end=3)
            if kind == 'scheduler'
            else None,
            hooks=[CosineLRHook()] if kind == 'hook' else [],
            saving=dict(interval_iters=1, max_keep_ckpts=-1),
            **kw,
        )
        # a runner built by hand has no config
        runner.cfg = Config(dict(optim_wrapper=dict(optimizer=dict(lr=lr))))
        return runner

    build(tmp_path / 'a', 0.1).train()
    rates = [
        torch.load(tmp_path / 'a' / f'iter_{i}.pth', weights_only=True)['optimizer']
        for i in (9, 15)
    ]
    rates = [part['param_groups'][0]['lr'] for part in rates]
    resumed = build(tmp_path / 'b', 0.02, resume=tmp_path / 'a' / 'iter_8.pth', seed=3)
    with mock.patch.object(resumed.logger, 'warning') as said:
        resumed.train()
    (text,) = [c.args[0] for c in said.call_args_list if 'goes on with another' in c.args[0]]
    assert re.search(r'optimizer\.lr: 0\.1 -> 0\.02 \(takes effect\)', text)
    assert 'seed: 0 -> 3' in text
    for i, rate in zip((9, 15), rates, strict=True):
        saved = torch.load(tmp_path / 'b' / f'iter_{i}.pth', weights_only=True)
        assert saved['optimizer']['param_groups'][0]['lr'] == pytest.approx(rate / 5)


def test_the_same_config_changes_nothing(tmp_path):
    whole = run(tmp_path / 'a', hooks=[CosineLRHook()], saving=dict(interval_iters=1))
    whole.train()
    resumed = run(
        tmp_path / 'b', hooks=[CosineLRHook(), Trace()], resume=tmp_path / 'a' / 'iter_17.pth'
    )
    with mock.patch.object(resumed.logger, 'warning') as said:
        resumed.train()
    assert not [c for c in said.call_args_list if 'goes on with another' in c.args[0]]
    assert equal(state(whole), state(resumed))


COURSE = [
    'train_cfg.max_epochs',
    'optim_wrapper.optimizer.lr',
    'optim_wrapper.paramwise_cfg.norm_decay_mult',
    'param_scheduler.0.T_max',
    'train_cfg.finetune_epochs',
    'default_hooks.schedule.lr',
    'default_hooks.schedule.milestones',
]


@pytest.mark.parametrize('key', COURSE)
def test_what_changes_the_length_or_the_rate_must_be_asked_for(key):
    changed = {'model.head.tau': ('1', '2'), key: ('0.1', '0.2')}
    with pytest.raises(BCE3SError, match=rf'with {re.escape(key)}=0.1, but this config has 0.2'):
        check_course(changed, ['model.head.tau=2'])
    check_course(changed, [f'{key}=0.2'])
    check_course(changed, [f'{key.rpartition(".")[0]}=dict(x=1)'])
    check_course(changed, ['own_data.epochs=5'])


def test_other_changes_need_not_be():
    check_course({'model.head.tau': ('1', '2'), 'model.neck.type': ('a', 'b')}, [])

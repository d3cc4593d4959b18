"""Checkpoints: safe to read, atomic to write, refused where they do not fit, resumed exactly."""

import errno
import os
import pickle
import re
import shutil
import uuid

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from toy_runs import run as toy_run

from bce3s.engine import checkpoint
from bce3s.engine.checkpoint import (
    CheckpointGuardHook,
    ResumedValidationHook,
    check_optimizer,
    compare_states,
    is_damaged,
    load_from_disk,
    resolve_checkpoint,
    survey,
)
from bce3s.engine.saving import AtomicLocalBackend, SafeCheckpointHook, plain
from bce3s.errors import BCE3SError


class Toy(BaseModel):
    """Two linear layers."""

    def __init__(self, width=3, classes=4):
        super().__init__()
        self.backbone = nn.Linear(2, width)
        self.head = nn.Linear(width, classes)

    def forward(self, inputs, mode='loss'):
        out = self.head(torch.tanh(self.backbone(inputs)))
        return dict(loss=(out**2).mean() + 1e-3 * out.sum()) if mode == 'loss' else list(out)


class Rows(torch.utils.data.Dataset):
    metainfo = dict(classes=('a', 'b'), class_counts=[5, 3])

    def __len__(self):
        return 8

    def __getitem__(self, i):
        return dict(inputs=torch.tensor([i / 8, 1 - i / 4]))


class Counter(Evaluator):
    """Its score counts its calls."""

    def __init__(self):
        super().__init__([])
        self.calls = 0

    def process(self, **_):
        pass

    def evaluate(self, size):
        self.calls += 1
        return dict(score=np.float64(1.0 + self.calls))


def runner(work_dir, epochs=3, hooks=(), val=False, **kw):
    torch.manual_seed(0)
    loader = dict(
        dataset=Rows(),
        batch_size=2,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    )
    if val:
        kw.update(val_dataloader=loader, val_cfg=dict(), val_evaluator=Counter())
    saving = dict(
        type='CheckpointHook', backend_args=dict(backend='atomic'), max_keep_ckpts=2, interval=1
    )
    saving.update(kw.pop('checkpoint', {}))
    return Runner(
        model=kw.pop('model', None) or Toy(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=epochs, val_interval=kw.pop('val_interval', 1)),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        param_scheduler=dict(type='LinearLR', start_factor=0.5, end=5, by_epoch=True),
        default_hooks=dict(checkpoint=saving),
        custom_hooks=[SafeCheckpointHook(max_length=6), CheckpointGuardHook(), *hooks],
        randomness=dict(seed=0),
        log_level='ERROR',
        experiment_name=uuid.uuid4().hex,
        **kw,
    )


def same(a, b):
    assert a.keys() == b.keys()
    return all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize('name', ['epoch_3.pth', 'best_score_epoch_3.pth'])
def test_no_checkpoint_needs_unpickling(tmp_path, name):
    runner(tmp_path, val=True, checkpoint=dict(save_best='score', rule='greater')).train()
    path = tmp_path / name
    assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == []
    assert torch.load(path, weights_only=True)['meta']['seed'] == 0


def test_resume_equals_not_having_stopped(tmp_path):
    whole = runner(tmp_path / 'whole', epochs=4)
    whole.train()
    runner(tmp_path / 'part', epochs=2).train()
    path = resolve_checkpoint(tmp_path / 'part', 'auto')
    assert path.name == 'epoch_2.pth'
    resumed = runner(tmp_path / 'part', epochs=4, load_from=str(path), resume=True)
    resumed.train()
    assert same(whole.model.state_dict(), resumed.model.state_dict())
    momenta = [list(r.optim_wrapper.optimizer.state.values()) for r in (whole, resumed)]
    assert all(
        torch.equal(a['momentum_buffer'], b['momentum_buffer'])
        for a, b in zip(*momenta, strict=True)
    )
    assert resumed.optim_wrapper.get_lr() == whole.optim_wrapper.get_lr()
    for name in ('train/loss', 'train/lr'):
        buffers = [r.message_hub.get_scalar(name) for r in (whole, resumed)]
        assert np.array_equal(buffers[0].data[0], buffers[1].data[0])
        assert np.array_equal(buffers[0].data[1], buffers[1].data[1])


def test_message_hub_comes_back(tmp_path):
    first = runner(tmp_path, epochs=2)
    first.train()
    saved = torch.load(tmp_path / 'epoch_2.pth', weights_only=True)
    second = runner(tmp_path, epochs=2)
    SafeCheckpointHook().after_load_checkpoint(second, saved)
    second.message_hub.load_state_dict(saved['message_hub'])
    for name, buffer in first.message_hub.log_scalars.items():
        again = second.message_hub.log_scalars[name]
        assert isinstance(again, HistoryBuffer)
        assert np.array_equal(buffer.data[0], again.data[0])
        assert again.max_length == buffer.max_length == 6
        again.update(1.0)  # it still works as one
        assert again.current() == 1.0


def test_history_is_bounded(tmp_path):
    run = runner(tmp_path, epochs=3)
    run.train()
    assert all(len(b.data[0]) <= 6 for b in run.message_hub.log_scalars.values())


def test_plain_names_what_it_cannot_keep():
    kept = plain({'a': np.float32(2), 'b': [np.int64(3), (True,)], 'c': np.arange(2)})
    assert kept['a'] == 2.0
    assert type(kept['a']) is float
    assert kept['b'] == [3, (True,)]
    assert kept['c'].tolist() == [0, 1]
    with pytest.raises(BCE3SError, match=r'hub\.x\.y holds a value of type .*Toy'):
        plain({'x': {'y': Toy()}}, 'hub')


# ------------------------------------------------------------ files that are refused
class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f'touch {self.target}',)


@pytest.mark.parametrize('how', ['torch', 'pickle'])
def test_a_payload_is_refused_and_not_run(tmp_path, how):
    path, proof = tmp_path / 'epoch_1.pth', tmp_path / 'proof'
    if how == 'torch':
        torch.save(dict(state_dict=Bomb(proof)), path)
    else:
        path.write_bytes(pickle.dumps(Bomb(proof)))
    with pytest.raises(BCE3SError, match='nothing of it was run'):
        load_from_disk(path)
    with pytest.raises(BCE3SError, match='nothing of it was run'):  # the way MMEngine takes
        runner(tmp_path / 'work', load_from=str(path)).train()
    assert not proof.exists()


@pytest.mark.parametrize('content', [b'', b'no checkpoint', b'PK\x03\x04 broken'])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / 'epoch_1.pth'
    path.write_bytes(content)
    with pytest.raises(BCE3SError, match=r'epoch_1\.pth'):
        load_from_disk(path)


def test_truncated_checkpoint_is_refused_and_the_one_before_is_taken(tmp_path):
    runner(tmp_path, epochs=2).train()
    last = tmp_path / 'epoch_2.pth'
    last.write_bytes(last.read_bytes()[:-500])
    with pytest.raises(BCE3SError, match='It is damaged, or another kind of file'):
        load_from_disk(last)
    assert resolve_checkpoint(tmp_path, 'auto') == tmp_path / 'epoch_1.pth'
    (tmp_path / 'epoch_1.pth').write_bytes(b'')
    with pytest.raises(BCE3SError, match=r'None of the checkpoints .*epoch_1\.pth, epoch_2\.pth'):
        resolve_checkpoint(tmp_path, 'auto')


# ------------------------------------------------------------ which one to resume from
def test_resolve(tmp_path):
    assert resolve_checkpoint(tmp_path, None) is None
    assert resolve_checkpoint(tmp_path / 'nowhere', 'auto') is None
    with pytest.raises(BCE3SError, match=r'missing\.pth does not exist'):
        resolve_checkpoint(tmp_path, str(tmp_path / 'missing.pth'))
    weights = dict(meta=dict(epoch=1, iter=4), state_dict=dict(w=torch.ones(1)))
    torch.save(weights, tmp_path / 'best.pth')
    with pytest.raises(BCE3SError, match='no message_hub, optimizer'):
        resolve_checkpoint(tmp_path, str(tmp_path / 'best.pth'))


def stand_in(path, iteration, **meta):
    """What looks like a checkpoint to resume from."""
    hub = dict(log_scalars={}, runtime_info={}, resumed_keys={})
    meta = dict(epoch=iteration // 4, iter=iteration, **meta)
    state = dict(state={}, param_groups=[])
    torch.save(dict(meta=meta, state_dict=dict(w=torch.arange(99.0)), message_hub=hub,
                    optimizer=state), path)  # fmt: skip


def test_the_newest_is_by_content_not_by_name_or_pointer(tmp_path):
    stand_in(tmp_path / 'epoch_9.pth', 36)
    stand_in(tmp_path / 'epoch_10.pth', 40)
    stand_in(tmp_path / 'iter_38.pth', 38)
    assert resolve_checkpoint(tmp_path, 'auto').name == 'epoch_10.pth'
    stand_in(tmp_path / 'iter_41.pth', 41)
    (tmp_path / 'last_checkpoint').write_text('/moved/away/epoch_9.pth')
    assert resolve_checkpoint(tmp_path, 'auto') == tmp_path / 'iter_41.pth'
    stand_in(tmp_path / 'mine.pth', 42)  # of another filename_tmpl
    (tmp_path / 'last_checkpoint').write_text('mine.pth')
    assert resolve_checkpoint(tmp_path, 'auto') == tmp_path / 'mine.pth'
    (tmp_path / 'last_checkpoint').write_text('')
    assert resolve_checkpoint(tmp_path, 'auto') == tmp_path / 'iter_41.pth'


def test_a_branch_that_was_left_is_older_than_the_one_that_was_taken(tmp_path):
    stand_in(tmp_path / 'epoch_5.pth', 20, serial=5)
    stand_in(tmp_path / 'epoch_3.pth', 12, serial=3)
    assert resolve_checkpoint(tmp_path, 'auto').name == 'epoch_5.pth'
    stand_in(tmp_path / 'epoch_4.pth', 16, serial=6)  # after --resume epoch_3.pth
    assert resolve_checkpoint(tmp_path, 'auto').name == 'epoch_4.pth'


def changed_in_the_middle(path):
    """Flips a bit of a tensor: torch.load reads the file without a word."""
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(99.0).numpy().tobytes()) + 200] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)


def test_a_changed_bit_is_found_and_said(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(checkpoint, 'print_log', lambda text, *_, **__: said.append(text))
    stand_in(tmp_path / 'epoch_1.pth', 4)
    stand_in(tmp_path / 'epoch_2.pth', 8)
    changed_in_the_middle(tmp_path / 'epoch_2.pth')
    (tmp_path / 'epoch_3.pth').write_bytes(b'')
    assert resolve_checkpoint(tmp_path, 'auto').name == 'epoch_1.pth'
    assert re.search(r'epoch_2\.pth cannot be read .*checksum of its record \S+/data/0', said[0])
    assert re.match(r'Passed over: \S+epoch_3\.pth cannot be read', said[1])
    valid, unfit = survey(tmp_path)
    assert [path.name for path, _ in valid] == ['epoch_1.pth']
    assert sorted(path.name for path in unfit if is_damaged(path)) == ['epoch_2.pth', 'epoch_3.pth']
    with pytest.raises(BCE3SError, match='checksum'):  # the way MMEngine takes
        runner(tmp_path / 'w', load_from=str(tmp_path / 'epoch_2.pth')).load_or_resume()


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    """``Runner.resume`` would run ``meta.config``."""
    toy_run(tmp_path, epochs=1).train()
    crafted = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    proof = tmp_path / 'proof'
    crafted['meta']['config'] = f'import os\nos.system("touch {proof}")\n'
    crafted['message_hub']['runtime_info']['best_ckpt'] = 'report.json'
    torch.save(crafted, tmp_path / 'epoch_1.pth')
    run = toy_run(tmp_path, epochs=2, resume=tmp_path / 'epoch_1.pth')
    run.train()
    assert run.iter == 12
    assert not proof.exists()
    assert 'best_ckpt' not in run.message_hub.runtime_info  # it would be removed


@pytest.mark.parametrize(
    ('dotted', 'value'),
    [
        ('meta', [1]),
        ('meta.epoch', 'x'),
        ('meta.seed', 2**40),
        ('meta.experiment', '{'),
        ('state_dict', [torch.zeros(1)]),
        ('state_dict.body', 'text'),
        ('message_hub', 3),
        ('message_hub.log_scalars', [1]),
        ('message_hub.runtime_info', None),
        ('optimizer', torch.zeros(2)),
        ('optimizer.state', []),
        ('optimizer.param_groups', [{}]),
    ],
)
def test_other_content_is_one_sentence(tmp_path, dotted, value):
    toy_run(tmp_path, epochs=1).train()
    path = tmp_path / 'epoch_1.pth'
    node = content = torch.load(path, weights_only=True)
    *above, last = dotted.split('.')
    for part in above:
        node = node[part]
    node[last] = value
    torch.save(content, path)
    with pytest.raises(BCE3SError, match=r'epoch_1\.pth (cannot be resumed|has no|holds no)'):
        toy_run(tmp_path, epochs=2, resume=resolve_checkpoint(tmp_path, str(path))).train()


@pytest.mark.parametrize('where', ['state_dict', 'model', None])
def test_weights_are_found_where_others_have_them(tmp_path, where):
    """DeiT's files are ``{'model': ..., 'epoch': 3}``."""
    weights = Toy().state_dict()
    torch.save({where: weights, 'epoch': 3} if where else weights, tmp_path / 'w.pth')
    assert same(load_from_disk(tmp_path / 'w.pth')['state_dict'], weights)
    loaded = runner(tmp_path, load_from=str(tmp_path / 'w.pth'))
    loaded.load_or_resume()
    assert same(loaded.model.state_dict(), weights)
    torch.save(dict(epoch=3, name='x'), tmp_path / 'w.pth')
    with pytest.raises(BCE3SError, match=r'holds no weights.*it has epoch, name'):
        load_from_disk(tmp_path / 'w.pth')


def test_moments_have_the_shapes_of_their_parameters():
    """A fused step would read others past their end."""
    model = Toy()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
    sum(p.sum() for p in model.parameters()).backward()
    check_optimizer(sgd, sgd.state_dict())
    sgd.step()
    saved = sgd.state_dict()
    check_optimizer(sgd, saved)
    saved['state'][1] = dict(momentum_buffer=torch.zeros(1))
    with pytest.raises(ValueError, match=r'momentum_buffer of parameter 1 has the shape \(1,\)'):
        check_optimizer(sgd, saved)
    saved['state'].clear()
    saved['param_groups'][0]['params'].pop()
    with pytest.raises(ValueError, match='argument 2'):
        check_optimizer(sgd, saved)


def test_a_copied_run_leaves_the_original_alone(tmp_path):
    best = dict(save_best='score', rule='greater')
    runner(tmp_path / 'a', epochs=2, val=True, checkpoint=best).train()
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    before = sorted(p.name for p in (tmp_path / 'a').iterdir())
    path = resolve_checkpoint(tmp_path / 'b', 'auto')
    run = runner(
        tmp_path / 'b', epochs=4, val=True, checkpoint=best, load_from=str(path), resume=True
    )
    run.val_loop.evaluator.calls = 10  # better than all before
    run.train()
    assert sorted(p.name for p in (tmp_path / 'a').iterdir()) == before
    assert (tmp_path / 'b' / 'best_score_epoch_4.pth').exists()
    assert not (tmp_path / 'b' / 'best_score_epoch_2.pth').exists()


# ------------------------------------------------------------ writing
def test_a_crash_while_writing_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'file'
    AtomicLocalBackend().put(b'old', path)

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    monkeypatch.setattr(os, 'replace', killed)
    with pytest.raises(Killed):
        AtomicLocalBackend().put(b'new', path)
    assert path.read_bytes() == b'old'
    monkeypatch.undo()
    AtomicLocalBackend().put(b'new', path)
    assert path.read_bytes() == b'new'
    assert [p.name for p in tmp_path.iterdir()] == ['file']


@pytest.mark.parametrize('keep', [1, 2])
def test_a_full_disk_keeps_the_previous_checkpoint(tmp_path, monkeypatch, keep):
    real = os.fsync

    def full(descriptor):
        if any(p.name.startswith('.epoch_3') for p in tmp_path.iterdir()):
            raise OSError(errno.ENOSPC, 'No space left on device')
        real(descriptor)

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(BCE3SError, match=r'epoch_3\.pth could not be written .*No space left'):
        runner(tmp_path, checkpoint=dict(max_keep_ckpts=keep)).train()
    assert not list(tmp_path.glob('.*.tmp'))
    assert not (tmp_path / 'epoch_3.pth').exists()
    assert resolve_checkpoint(tmp_path, 'auto').name == 'epoch_2.pth'


def test_only_as_many_as_asked_for_are_kept(tmp_path):
    runner(tmp_path, epochs=4).train()
    assert sorted(p.name for p in tmp_path.glob('*.pth')) == ['epoch_3.pth', 'epoch_4.pth']


# ------------------------------------------------------------ the guard
def test_guard_names_both_numbers_of_classes(tmp_path):
    runner(tmp_path, epochs=1).train()
    path = str(tmp_path / 'epoch_1.pth')
    with pytest.raises(BCE3SError, match='trained with 4 classes, this config has 6'):
        runner(tmp_path / 'b', model=Toy(classes=6), load_from=path).train()
    with pytest.raises(BCE3SError, match=r'another architecture.*backbone\.weight: \(3, 2\)'):
        runner(tmp_path / 'c', model=Toy(width=5), load_from=path).train()


def test_guard_names_missing_and_unexpected():
    zeros = torch.zeros(2)
    with pytest.raises(BCE3SError, match=r'missing in the checkpoint: b.*unknown to the model: c'):
        compare_states(dict(a=zeros, b=zeros), dict(a=zeros, c=zeros))
    compare_states(dict(a=zeros, b=zeros), dict(a=zeros, c=zeros), ignore=('b', 'c'))
    many = {f'w{i}': zeros for i in range(9)}
    with pytest.raises(BCE3SError, match=r'w0, w1, w2, \.\.\. \(9 in all\)'):
        compare_states(many, {})
    compare_states(many, dict(many))


# ------------------------------------------------------------ validation after a resume
@pytest.mark.parametrize(('interval', 'expected'), [(1, 2), (2, 2), (3, 1)])
def test_the_validation_that_was_cut_off_is_made_up_for(tmp_path, interval, expected):
    """Stopped after epoch 2 of 3: due at 2 (intervals 1 and 2), and at the end in any case."""
    runner(tmp_path, epochs=2).train()
    run = runner(
        tmp_path,
        epochs=3,
        val=True,
        val_interval=interval,
        hooks=[ResumedValidationHook()],
        load_from=str(tmp_path / 'epoch_2.pth'),
        resume=True,
    )
    run.train()
    assert run.val_loop.evaluator.calls == expected


def test_a_run_killed_before_its_last_validation_still_gets_it(tmp_path):
    runner(tmp_path, epochs=2).train()
    hooks, path = [ResumedValidationHook()], str(tmp_path / 'epoch_2.pth')
    run = runner(tmp_path, epochs=2, val=True, hooks=hooks, load_from=path, resume=True)
    run.train()
    assert run.val_loop.evaluator.calls == 1
    fresh = runner(tmp_path / 'new', epochs=1, val=True, hooks=[ResumedValidationHook()])
    fresh.train()
    assert fresh.val_loop.evaluator.calls == 1

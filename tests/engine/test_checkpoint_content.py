"""A sound torch file that is no checkpoint inside is refused in one sentence."""

from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch

from bce3s.engine.checkpoint import load_from_disk
from bce3s.engine.checkpoint_content import Content
from bce3s.engine.optimizer_state import check_optimizer
from bce3s.errors import BCE3SError


def whole():
    history = dict(log_history=torch.ones(2), count_history=torch.ones(2), max_length=10)
    row = dict(epoch=1, stage=1, all=1.0, many=None, medium=2, few=3.0)
    return dict(
        meta=dict(epoch=1, iter=5, seed=0),
        state_dict={'a': torch.zeros(2)},
        message_hub=dict(
            log_scalars={'loss': history},
            runtime_info=dict(report_history=[row]),
            resumed_keys={'loss': True},
        ),
        optimizer=dict(state={}, param_groups=[dict(lr=0.1, params=[0])]),
        param_schedulers=[dict(last_step=1)],
    )


def load(path, content):
    torch.save(content, path)
    return load_from_disk(path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'epoch_1.pth'


def changed(dotted, value):
    content = whole()
    *above, last = dotted.split('.')
    node = content
    for part in above:
        node = node[int(part) if isinstance(node, list) else part]
    node[int(last) if isinstance(node, list) else last] = value
    return content


def test_a_sound_one_is_given_as_it_is(path):
    read = load(path, whole())
    assert read.keys() == whole().keys()
    assert read['meta'] == whole()['meta']
    assert torch.equal(read['state_dict']['a'], torch.zeros(2))


def test_the_text_that_a_resume_would_run_is_left_out(path):
    content = changed('meta.config', 'raise SystemExit')
    assert 'config' not in load(path, content)['meta']
    assert (
        load(path, dict(content, meta=dict(content['meta'], cfg='a = 1')))['meta']['cfg'] == 'a = 1'
    )


@pytest.mark.parametrize(
    ('dotted', 'value'),
    [
        ('meta', [1]),
        ('meta.epoch', '1'),
        ('meta.epoch', True),
        ('meta.iter', -1),
        ('meta.seed', 2**40),
        ('meta.epoch_size', dict(batches=None)),
        ('meta.dataset_meta', [1]),
        ('state_dict', [torch.zeros(1)]),
        ('state_dict.a', 'text'),
        ('state_dict.a', torch.zeros(1).expand(2**40)),
        ('message_hub', 3),
        ('message_hub.log_scalars', [1]),
        ('message_hub.log_scalars.loss', dict(log_history=1)),
        ('message_hub.log_scalars.loss.log_history', torch.ones(3)),
        ('message_hub.log_scalars.loss.max_length', 0),
        ('message_hub.resumed_keys.loss', 'x'),
        ('message_hub.runtime_info', None),
        ('message_hub.runtime_info.report_history', 'x'),
        ('message_hub.runtime_info.report_history.0', {}),
        ('message_hub.runtime_info.report_history.0.all', 'x'),
        ('optimizer', torch.zeros(2)),
        ('optimizer.state', []),
        ('optimizer.state', {0: 1}),
        ('optimizer.param_groups', {}),
        ('optimizer.param_groups.0', 1),
        ('optimizer.param_groups.0.params', ['a']),
        ('param_schedulers', [1]),
    ],
)
def test_what_has_another_form_is_named(path, dotted, value):
    with pytest.raises(BCE3SError, match=dotted.split('.')[0]) as caught:
        load(path, changed(dotted, value))
    assert 'epoch_1.pth is no checkpoint that can be used' in str(caught.value)


@pytest.mark.parametrize(
    'tensor',
    [torch.zeros(2).to_sparse(), torch.zeros(2, device='meta')],
)
def test_other_tensors_than_dense_ones_are_refused(path, tensor):
    with pytest.raises(BCE3SError, match=r'refused|no checkpoint'):
        load(path, changed('state_dict.a', tensor))
    with pytest.raises(BCE3SError, match=r'it\.a is a tensor that is sparse'):
        Content('f', 10**6).copy({'a': tensor})


def test_what_can_be_resumed_from_says_where_it_stands(path):
    content = whole()
    del content['meta']['epoch']
    with pytest.raises(BCE3SError, match='epoch and iter'):
        load(path, content)
    weights = dict(meta=dict(a=1), state_dict=content['state_dict'])
    assert load(path, weights)['meta'] == dict(a=1)


def test_a_container_that_holds_itself_is_refused(path):
    knot = []
    knot.append(knot)
    with pytest.raises(BCE3SError, match='holds itself'):
        load(path, changed('meta.knot', knot))


def test_what_occurs_often_is_looked_at_once(path):
    """2**60 leaves if not."""
    shared = [1]
    for _ in range(60):
        shared = [shared, shared]
    read = load(path, changed('meta.shared', shared))['meta']['shared']
    assert read[0] is read[1]


def test_attributes_of_a_state_dict_are_gone_but_for_versions(path):
    states = OrderedDict(a=torch.zeros(1))
    states._metadata = {'': {'version': 1, 'x': 'y'}, 'b': 3}
    states.copy = 'no function'
    read = load(path, dict(state_dict=states))['state_dict']
    assert read._metadata == {'': {'version': 1}}
    assert read.copy() == read


# ------------------------------------------------------------ against an optimiser
def stepped(**kwargs):
    parameters = [torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.zeros(3))]
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, **kwargs)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return SimpleNamespace(optimizer=optimizer)


def test_the_state_of_the_same_optimiser_fits():
    check_optimizer('f', stepped(), stepped().optimizer.state_dict())
    fresh = stepped()
    fresh.optimizer.state.clear()
    check_optimizer('f', fresh, stepped().optimizer.state_dict())


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda s: s['state'][0].update(momentum_buffer=torch.zeros(2)), 'of the parameter'),
        (
            lambda s: s['state'][0].update(momentum_buffer=torch.zeros(1).expand(2, 3)),
            'of the param',
        ),
        (lambda s: s['state'][0].update(momentum_buffer=None), 'there for each parameter'),
        (lambda s: s['state'][1].update(momentum_buffer=[1]), 'of the parameter'),
        (lambda s: s['state'][1].clear(), 'there for each parameter'),
        (lambda s: s['param_groups'][0].update(lr=None), 'like a number'),
        (lambda s: s['param_groups'][0].update(lr='fast'), 'like a number'),
        (lambda s: s['param_groups'][0].update(nesterov=torch.zeros(3)), 'like True or False'),
        (lambda s: s['param_groups'][0]['params'].pop(), 'with these parameters'),
    ],
)
def test_another_state_is_refused(change, words):
    """A fused step reads a momentum that is too short past its end."""
    saved = stepped().optimizer.state_dict()
    change(saved)
    with pytest.raises(BCE3SError, match=words):
        check_optimizer('f', stepped(), saved)

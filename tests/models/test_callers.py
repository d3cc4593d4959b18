"""The head and its losses under what a caller of their own may wrap around them."""

import copy
import subprocess
import sys

import pytest
import torch
from test_head import BCE3S, CE_TSL, COUNTS, B, D, K, build, feats, mixed_targets

from bce3s.errors import BCE3SError
from bce3s.losses import BCEContrastive, BCEJoint, BCEUniformity, CEJoint, CEUniformity
from bce3s.models import Targets, TripartiteHead
from bce3s.models.branches import joint_loss
from bce3s.models.data_parallel import split
from bce3s.models.share import Share
from bce3s.randomness import Clock

BRANCHES = pytest.mark.parametrize('branches', [BCE3S, CE_TSL], ids=['BCE3S', 'CE TSL'])


def joint(loss, z, targets):
    return joint_loss(loss, targets.per_view(z), targets.soft(K, z.dtype), targets)


def total(head, x, targets):
    return sum(head.loss(x, targets).values())


def filled(branches, dtype=torch.float64):
    """A head whose bank has seen all classes but one."""
    head = build(**branches).to(dtype)
    seen = torch.randn(K - 1, 128, generator=torch.Generator().manual_seed(3))
    head.bank.update(seen, torch.arange(K - 1))
    return head


@BRANCHES
def test_an_autocast_of_the_caller_changes_no_digit(branches):
    results = []
    for enabled in (False, True):
        head, x = filled(branches, torch.float32), feats(3 * B).float().requires_grad_()
        targets = mixed_targets()
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            logits, loss = head(x), total(head, x, targets)
        loss.backward()
        results.append((logits, loss, x.grad, head.classifier.weight.grad, head.bank.features))
    for alone, within in zip(*results, strict=True):
        assert alone.dtype == within.dtype == torch.float32
        assert torch.equal(alone, within)


def test_features_of_an_autocast_backbone_are_raised_to_the_precision_of_the_head():
    head, x = filled(BCE3S, torch.float32), feats(3 * B).bfloat16()
    assert torch.equal(head(x), head(x.float()))
    assert total(head, x, mixed_targets()).dtype == torch.float32


@pytest.mark.parametrize('loss', [BCEUniformity(), BCEUniformity(True), CEUniformity()])
@pytest.mark.parametrize('wrapped', [torch.compile(backend='aot_eager'), lambda f: f])
def test_uniformity_under_autocast_and_functional_gradients(loss, wrapped):
    weight = torch.randn(K, D, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss(weight).backward()
    torch.testing.assert_close(torch.func.grad(loss)(weight.detach()), weight.grad)
    again = weight.detach().clone().requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        value = wrapped(loss)(again)
    value.backward()
    torch.testing.assert_close(value, loss(weight))
    torch.testing.assert_close(again.grad, weight.grad)


@BRANCHES
def test_functional_gradients_of_the_head(branches):
    head, x, targets = filled(branches), feats(3 * B).requires_grad_(), mixed_targets()
    found = torch.func.grad(lambda x: total(copy.deepcopy(head), x, targets))(x.detach())
    total(head, x, targets).backward()
    torch.testing.assert_close(found, x.grad)


@BRANCHES
def test_a_copy_and_a_loaded_head_go_on_alike(branches):
    head, x = filled(branches), feats(3 * B)
    other = TripartiteHead(K, D, **branches).double()
    other.load_state_dict(head.state_dict())
    want = total(copy.deepcopy(head), x, mixed_targets())
    assert torch.equal(total(other, x, mixed_targets()), want)


class Told(BCEJoint):
    """A loss of somebody's own, which wants the counts."""

    def set_class_counts(self, counts):
        self.counts = counts.tolist()


def test_a_loaded_head_weighs_the_classes_of_the_second_stage():
    """The weights are not saved, for they follow from the counts, which are."""
    head, x = build(), feats(B)
    other = TripartiteHead(K, D, **BCE3S).double()
    other.joint = Told()
    other.load_state_dict(head.state_dict())
    head.finetune(), other.finetune()
    targets = Targets.plain(torch.tensor([1, 4, 1, 5]), Clock())
    assert torch.equal(other.class_weights, head.class_weights)
    assert head.class_weights.std() > 0.1
    assert total(other, x, targets).item() == total(head, x, targets).item()
    assert other.joint.counts == COUNTS


def test_a_head_that_was_never_told_counts_loads():
    heads = [TripartiteHead(K, D, **BCE3S) for _ in range(2)]
    heads[1].load_state_dict(heads[0].state_dict())
    assert (heads[1].class_weights == 1).all()


@pytest.mark.parametrize('shape', [(2, 201, D), (2, D, 4, 4), (2, D + 1), (D,)])
def test_features_that_were_not_pooled(shape):
    head, x = build(), torch.zeros(shape, dtype=torch.float64)
    for use in (head, lambda x: head.loss(x, Targets.plain(torch.tensor([0, 1]), Clock()))):
        with pytest.raises(BCE3SError, match=r'takes features \(B, 8\).*global_pool'):
            use(x)


def test_a_loop_of_ones_own_must_tell_the_time():
    """Or every step would draw the same negatives."""
    labels = torch.tensor([0])
    with pytest.raises(TypeError, match='clock'):
        Targets.plain(labels)
    loss, logits = BCEJoint(resample=0.4), feats(1)[:, :K].requires_grad_()
    drawn = set()
    for step in range(20):
        joint(loss, logits, Targets.plain(labels, Clock(0, 0, step))).backward()
        drawn.add(tuple((logits.grad[0] != 0).tolist()))
        logits.grad = None
    assert len(drawn) > 1


@pytest.mark.parametrize('sizes', [(4, 3), (5, 2), (1, 6)])
@pytest.mark.parametrize('parts', [1, 2, 3])
def test_uneven_parts_on_uneven_ranks_make_the_mean_of_the_batch(sizes, parts):
    """What DistributedDataParallel averages over the ranks, added up over the parts."""
    z = torch.randn(7, K, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([1, 4, 1, 0, 5, 2, 2])
    loss, ranks, counts = BCEJoint(), [], []
    for rank, own in enumerate(torch.arange(7).split(sizes)):
        share = Share(sizes, rank)
        lam = torch.ones(1, dtype=torch.float64)
        mine = Targets(labels[own], ('origin',), lam, None, labels, share, Clock())
        done = [(len(part.labels), joint(loss, x, part)) for x, part in split(z[own], mine, parts)]
        counts.append(len(done))
        ranks.append(sum(value for _, value in done))
        assert sum(n for n, _ in done) == len(own)
        assert all(n for n, _ in done)
    assert counts == [min(parts, *sizes)] * 2
    whole = joint(loss, z, Targets.plain(labels, Clock()))
    assert sum(ranks).item() / 2 == pytest.approx(whole.item(), rel=1e-12)


@pytest.mark.parametrize('kind', [torch.nn.CrossEntropyLoss, lambda: CEJoint().forward])
def test_a_loss_of_any_library_is_mixed_as_mixup_does(kind):
    """Integer labels in, one number out: the soft labels' cross-entropy."""

    class Foreign(torch.nn.Module):
        def forward(self, logits, labels):
            assert labels.dtype == torch.long
            return kind()(logits, labels)

    x, targets = feats(3 * B), mixed_targets()
    theirs, ours = build(joint=Foreign()), build(joint=CEJoint())
    torch.testing.assert_close(total(theirs, x, targets), total(ours, x, targets))
    theirs.finetune()
    with pytest.raises(BCE3SError, match='Foreign gives one number a batch, but weights of'):
        theirs.loss(feats(B), Targets.plain(torch.tensor([0, 1, 2, 3]), Clock()))


def test_modules_instead_of_configs():
    modules = dict(
        joint=BCEJoint(), contrastive=BCEContrastive(tau=0.5), uniformity=BCEUniformity()
    )
    x, targets = feats(3 * B), mixed_targets()
    assert torch.equal(total(build(**modules), x, targets), total(build(), x, targets))


def test_losses_and_head_need_pytorch_alone():
    """In a process of its own: what is imported, and how long the losses take beyond torch."""
    code = """if True:
        import sys, time
        import numpy, torch
        start = time.process_time()
        import bce3s.losses
        print(time.process_time() - start < 0.3)
        import bce3s.models, bce3s.samplers
        heavy = ('mmengine', 'mmpretrain', 'cv2', 'torchvision', 'PIL', 'scipy', 'matplotlib')
        print([name for name in heavy if name in sys.modules])
    """
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.split('\n') == ['True', '[]', '']

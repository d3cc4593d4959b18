"""Predictions against the evaluation's own logits and against loops; the threshold's edges."""

import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from trained_runs import RESIZE, SIZE, set_rejection

import bce3s
from bce3s.datasets.decoding import read_centre
from bce3s.datasets.long_tailed import split_of
from bce3s.datasets.parents import Parents
from bce3s.engine.outputs import run_outputs
from bce3s.engine.run_directory import RunDirectory
from bce3s.errors import BCE3SError
from bce3s.evaluation.hierarchy import parent_logits
from bce3s.inference.inputs import InputSpec, to_uint8
from bce3s.inference.parents import parent_thresholds
from bce3s.inference.predictor import Predictor
from bce3s.inference.threshold import chosen_threshold

ROOT = Path(__file__).resolve().parents[2]
DIGITS = InputSpec(1, 8, 8, None, 'fit')


@pytest.fixture(scope='module')
def folder(trained_folder, tmp_path_factory):
    run = Path(shutil.copytree(trained_folder, tmp_path_factory.mktemp('folder') / 'run'))
    set_rejection(run)
    return run


@pytest.fixture(scope='module')
def bce(digits):
    return Predictor(digits)


# ------------------------------------------------------------ the same as the evaluation
def test_files_give_the_logits_of_the_evaluation(folder):
    predictor = Predictor(folder, batch_size=500, top=3)
    dataset, outputs = predictor.run.dataset('val'), run_outputs(predictor.run, 'val')
    found = predictor(dataset.paths)
    assert [p.image for p in found] == dataset.paths
    assert [p.logit for p in found] == outputs.logits.max(1).tolist()
    assert [p.best for p in found] == [outputs.classes[k] for k in outputs.logits.argmax(1)]
    expected = torch.tensor(outputs.logits).double().softmax(1).sort(descending=True).values
    scores = torch.tensor([[score for _, score in p.top] for p in found])
    torch.testing.assert_close(scores, expected, check_dtype=False)


@pytest.mark.parametrize('options', [dict(batch_size=5), dict(batch_size=5, workers=2)])
def test_batches_and_processes_change_nothing_but_rounding(folder, options):
    paths = RunDirectory.open(folder).dataset('val').paths
    whole, parts = Predictor(folder)(paths), Predictor(folder, **options)(paths)
    assert [p.image for p in parts] == [p.image for p in whole] == paths
    assert [p.best for p in parts] == [p.best for p in whole]
    assert [p.logit for p in parts] == pytest.approx([p.logit for p in whole], abs=1e-4)


def test_a_picture_is_the_same_as_path_picture_and_array(folder, pictures):
    predictor = Predictor(folder)
    for path in sorted((pictures / 'val').rglob('*.png')):
        image = Image.open(path)
        array = np.asarray(image.convert('RGB'))
        tensor = torch.tensor(array).permute(2, 0, 1)
        first, *others = (to_uint8(x, predictor.input) for x in (path, image, array, tensor))
        assert first.equal(read_centre(str(path), SIZE, RESIZE))
        assert all(first.equal(other) for other in others)


def test_a_picture_that_lies_on_its_side_is_turned(folder, pictures):
    spec = InputSpec.of(RunDirectory.open(folder))
    for path in (pictures / 'val').rglob('1.jpg'):
        found = to_uint8(Image.open(path), spec).int() - to_uint8(path, spec)
        assert found.abs().max() <= 3  # Pillow's and OpenCV's colours differ by rounding


def test_images_in_memory_give_the_logits_of_the_evaluation(bce, tmp_path):
    dataset, outputs = bce.run.dataset('val'), run_outputs(bce.run, 'val')
    images, expected = dataset.images[:70], outputs.logits[:70].max(1)
    rows = images.permute(0, 2, 3, 1).numpy()
    for i, image in enumerate(rows):
        Image.fromarray(image[..., 0]).save(tmp_path / f'{i:02d}.png')
    files = sorted(tmp_path.iterdir())
    coloured = [Image.open(path).convert('RGBA') for path in files]
    kinds = [images, images.numpy(), rows, files, list(rows[..., 0]), coloured]
    first = [p.logit for p in bce(kinds[0])]
    assert first == pytest.approx(expected.tolist(), abs=1e-4)
    for kind in kinds[1:]:
        assert [p.logit for p in bce(kind)] == first


# ------------------------------------------------------------ what a prediction says
def test_a_prediction_against_loops(bce):
    images = bce.run.dataset('val').images[:20]
    logits = bce.logits(images).tolist()
    splits = split_of(bce.class_counts).tolist()
    for i, (prediction, row) in enumerate(zip(bce(images), logits, strict=True)):
        order = sorted(range(10), key=lambda k: -row[k])
        scores = [1 / (1 + math.exp(-row[k])) for k in order]
        assert (prediction.image, prediction.error) == (i, None)
        assert prediction.best == bce.classes[order[0]]
        assert prediction.split == splits[order[0]]
        assert prediction.logit == row[order[0]]
        assert prediction.score == pytest.approx(scores[0])
        assert [name for name, _ in prediction.top] == [bce.classes[k] for k in order[:5]]
        assert [score for _, score in prediction.top] == pytest.approx(scores[:5])
        assert prediction.known == (row[order[0]] > 0.5)
        assert prediction.label == (prediction.best if prediction.known else None)


def test_where_no_class_is_sure_its_parent_may_be(copied, bce):
    """Odd and even digits; against loops over probabilities."""
    rows = [f'{k},{"odd" if int(k) % 2 else "even"}' for k in bce.classes]
    (copied / 'parents.csv').write_text('\n'.join(['class,parent', *rows, '']))
    images = bce.run.dataset('val').images[:200]
    limit = float(np.quantile([p.logit for p in bce(images)], 0.6))
    predictor = Predictor(copied, threshold=limit)
    kinds = set()
    for prediction, row in zip(predictor(images), bce.logits(images).tolist(), strict=True):
        chances = [1 / (1 + math.exp(-z)) for z in row]
        none = {
            name: math.prod(1 - chances[k] for k in range(i, 10, 2))
            for i, name in enumerate(('even', 'odd'))
        }
        parent = min(none, key=none.get)
        logit = math.log((1 - none[parent]) / none[parent])
        expected = None
        if max(row) > limit:
            expected = prediction.best
        elif logit > limit:
            expected = parent
            assert prediction.compared == pytest.approx(logit, abs=1e-3)
            assert prediction.threshold == limit
        assert prediction.label == expected
        assert prediction.known == (expected is not None)
        assert prediction.broad == (expected in none)
        kinds.add('class' if expected == prediction.best else expected)
    assert kinds >= {'class', 'even', None}
    assert not any(p.broad for p in Predictor(copied, threshold=None)(images[:20]))
    (copied / 'parents.csv').write_text('class,parent\n1,odd\n')
    with pytest.raises(BCE3SError, match='9 classes no parent'):
        Predictor(copied)


@pytest.mark.parametrize('how', ['auto', 'uniform', 'keep=80'])
def test_parents_have_thresholds_by_the_same_rule(copied, how):
    """On the validation images, as if they were the classes."""
    parents = Parents(['even', 'odd'], np.arange(10) % 2)
    run = RunDirectory.open(copied)
    found = parent_thresholds(run, chosen_threshold(run, how, None), parents, True)
    outputs = run_outputs(run, 'val')
    logits, labels = parent_logits(outputs.logits, parents.of, True), parents.of[outputs.labels]
    rows = np.arange(len(labels))
    if how == 'uniform':
        own, other = logits[rows, labels], logits[rows, 1 - labels]
        assert found[0] == found[1]
        share = ((own > found[0]) & (other <= found[0])).mean()
        assert share == max(((own > t) & (other <= t)).mean() for t in (*own, *other))
    else:
        kept = logits.max(axis=1) > found[logits.argmax(axis=1)]
        rate = {'auto': 5, 'keep=80': 20}[how]
        rejections = 100 * (1 - kept.mean())
        assert rate - 2 < rejections <= rate


def test_a_logit_equal_to_the_threshold_is_rejected(digits, bce):
    image = bce.run.dataset('val').images[:1]
    logit = bce(image)[0].logit
    for threshold, known in ((logit, False), (np.nextafter(logit, -np.inf), True), (None, True)):
        prediction = Predictor(digits, threshold=threshold)(image)[0]
        assert (prediction.known, prediction.label is not None) == (known, known)
        assert prediction.logit == logit


def test_classes_and_splits_are_those_of_the_training(digits, bce, folder):
    run, predictor = RunDirectory.open(digits), Predictor(folder)
    assert bce.classes == list('0123456789')
    assert bce.class_counts == run.dataset('train').metainfo['class_counts']
    assert bce.splits == split_of(bce.class_counts).tolist()
    assert (predictor.classes, predictor.class_counts) == (['ant', 'bee', 'cat'], [9, 5, 2])
    assert predictor.score == 'softmax'
    assert bce.score == 'sigmoid'


def test_other_thresholds_of_the_splits(copied):
    config = next(copied.glob('*.py'))
    text = config.read_text()
    metric = "dict(type='LongTailedMetric')"
    assert metric in text
    config.write_text(text.replace(metric, "dict(few=3, many=8, type='LongTailedMetric')"))
    predictor = Predictor(copied)
    assert predictor.splits == ['many' if n > 8 else 'medium' for n in predictor.class_counts]


def test_it_tells_what_it_is(digits, bce):
    text = repr(bce)
    assert str(digits) in text
    assert 'epoch_2.pth, 10 classes, threshold 0.5 (auto), ' in text
    assert 'threshold -1.5,' in repr(Predictor(digits, threshold=-1.5))


# ------------------------------------------------------------ what may be given
def test_mixed_images_and_generators_in_order(bce, tmp_path):
    images = bce.run.dataset('val').images[:7]
    Image.fromarray(images[1, 0].numpy()).save(tmp_path / 'b.png')
    mixed = [images[0], tmp_path / 'b.png', images[2, 0].numpy()]
    mixed += [Image.fromarray(images[3, 0].numpy()), *images[4:]]
    expected = [p.logit for p in bce(images)]
    found = bce(image for image in mixed)
    assert [p.logit for p in found] == expected
    assert [p.image for p in found] == [0, str(tmp_path / 'b.png'), 2, 3, 4, 5, 6]
    assert bce([]) == []


def test_a_generator_is_read_as_it_is_needed(digits):
    given = []

    def images():
        for i in range(10):
            given.append(i)
            yield np.full((8, 8), i, np.uint8)

    stream = Predictor(digits, batch_size=2).stream(images())
    assert [next(stream).image, next(stream).image] == [0, 1]
    assert given == [0, 1]


@pytest.mark.parametrize(
    ('image', 'said'),
    [
        (np.zeros((8, 8)), 'float64 has no fixed range'),
        (torch.zeros(1, 8, 8), 'float32 has no fixed range'),
        (np.zeros((2, 8, 8), np.uint8), r'shape \(2, 8, 8\) \(H, W, C\) is none'),
        (torch.zeros(8, 8, dtype=torch.uint8), 'give 1, 3 or 4 channels'),
        (np.zeros((0, 8, 3), np.uint8), 'is none'),
        (3, 'A value of type int holds no images'),
        (b'abc', 'A value of type bytes holds no images'),
        ([None], 'Image 0: A value of type NoneType is no image'),
        ('nowhere.png', 'nowhere.png cannot be read'),
        (Image.fromarray(np.zeros((4, 4), np.float32)), 'no fixed range'),
    ],
)
def test_what_is_no_image(bce, image, said):
    with pytest.raises(BCE3SError, match=said):
        bce(image)


def test_unreadable_images_among_others(bce, tmp_path):
    image = np.zeros((8, 8), np.uint8)
    (tmp_path / 'broken.png').write_bytes(b'\x89PNG no')
    images = [image, tmp_path / 'broken.png', image]
    with pytest.raises(BCE3SError, match=r'broken\.png cannot be read'):
        bce(images)
    found = bce(images, errors='keep')
    assert [p.error is None for p in found] == [True, False, True]
    assert 'broken.png cannot be read' in found[1].error
    assert (found[1].label, found[1].known, found[1].top) == (None, False, ())
    assert found[0].logit == found[2].logit
    assert [p.error is None for p in bce(images[1:2], errors='keep')] == [False]
    with pytest.raises(BCE3SError, match='errors is'):
        bce(images, errors='ignore')


# ------------------------------------------------------------ what cannot be used
def test_arguments_that_cannot_be_used(digits):
    for options, said in (
        (dict(batch_size=0), 'batch_size is 0'),
        (dict(workers=-1), 'workers is -1'),
        (dict(top=True), 'top is True'),
        (dict(device='abacus'), 'device abacus cannot be used'),
    ):
        with pytest.raises(BCE3SError, match=said):
            Predictor(digits, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_no_gpu(digits):
    with pytest.raises(BCE3SError, match='device cuda cannot be used'):
        Predictor(digits, device='cuda')


@pytest.mark.gpu
def test_a_gpu_says_the_same(digits, bce):
    images = bce.run.dataset('val').images
    found = [p.logit for p in Predictor(digits, device='cuda')(images)]
    assert found == pytest.approx(
        [p.logit for p in Predictor(digits, device='cpu')(images)], abs=0.02
    )


def test_checkpoints_that_do_not_fit(copied, folder):
    with pytest.raises(BCE3SError, match=r'class_counts: \(3,\) in the checkpoint'):
        Predictor(copied, folder / 'epoch_2.pth')
    state = torch.load(copied / 'epoch_2.pth', weights_only=True)
    weights = state['state_dict']
    weights['head.classifier.bias'] = torch.full_like(weights['head.classifier.bias'], math.nan)
    torch.save(state, copied / 'epoch_3.pth')
    with pytest.raises(BCE3SError, match='not finite'):
        Predictor(copied, copied / 'epoch_3.pth', threshold=0.5)(np.zeros((8, 8), np.uint8))


def test_weights_alone_have_counts_but_no_names(copied):
    state = torch.load(copied / 'epoch_2.pth', weights_only=True)
    torch.save(dict(state_dict=state['state_dict']), copied / 'weights.pth')
    predictor = Predictor(copied, copied / 'weights.pth')
    assert predictor.classes == list('0123456789')
    assert predictor.class_counts == state['meta']['dataset_meta']['class_counts']


def test_a_config_of_another_version(copied):
    config = next(copied.glob('*.py'))
    config.write_text(config.read_text().replace("type='GlobalAveragePooling'", "type='Gone'"))
    with pytest.raises(BCE3SError, match='Gone'):
        Predictor(copied)


def test_the_package_gives_it_without_importing_torch_first():
    code = (
        'import sys, bce3s, bce3s.inference\nassert "torch" not in sys.modules\n'
        'try:\n    bce3s.Nothing\nexcept AttributeError as error:\n    print(error)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "module 'bce3s' has no attribute 'Nothing'"
    assert bce3s.Predictor is Predictor

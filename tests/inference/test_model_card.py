"""The model card: its figures by hand, what it does not claim, its example as a user runs it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from trained_runs import set_rejection

from bce3s.engine.run_directory import RunDirectory
from bce3s.inference.export_command import main
from bce3s.inference.inputs import to_uint8
from bce3s.inference.model_card import format_card, standard_error
from bce3s.inference.model_facts import evaluated, model_facts, sha256
from bce3s.inference.predictor import Predictor

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def digits(trained, tmp_path_factory):
    """Exported as ONNX; the highest logits of a third of its images are rejected."""
    run = Path(shutil.copytree(trained, tmp_path_factory.mktemp('card') / 'run'))
    highest = Predictor(run, threshold=None).logits(RunDirectory.open(run).dataset('val').images)
    set_rejection(run, round(float(highest.amax(1).quantile(1 / 3)), 3))
    assert main([str(run)]) == 0
    return run


@pytest.fixture(scope='module')
def folder(trained_folder, tmp_path_factory):
    """Exported as ONNX, without a threshold."""
    run = Path(shutil.copytree(trained_folder, tmp_path_factory.mktemp('card') / 'folder'))
    set_rejection(run, None)
    assert main([str(run)]) == 0
    return run


@pytest.fixture
def facts(digits):
    """``model.json`` of the digits, to be changed."""
    return json.loads((digits / 'export' / 'model.json').read_text())


def of_run(folder, checkpoint=None):
    """The facts of a run, without an export."""
    predictor = Predictor(folder, checkpoint, threshold=None)
    run = RunDirectory.open(folder, checkpoint)
    data = evaluated(run, predictor.input, len(predictor.classes))
    found = model_facts(run, predictor.model, predictor.meta, predictor.input, data)
    return found | dict(files=[])


def row(card, first):
    """The cells of the first row of a table that begins so."""
    line = next(line for line in card.splitlines() if line.startswith(f'| {first} |'))
    return [cell.strip() for cell in line.strip('|').split('|')]


# ------------------------------------------------------------ the example
def example(run, images):
    """What the program in the card prints of image files: path, name, score."""
    card = (run / 'export' / 'MODEL_CARD.md').read_text()
    (program,) = re.findall(r'```python\n(.+?)```', card, re.S)
    assert 'bce3s' not in program
    assert 'torch' not in program
    done = subprocess.run(
        [sys.executable, '-c', program, *map(str, images)],
        cwd=run / 'export',
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [line.rsplit(' ', 1) for line in done.stdout.splitlines()]


def test_the_example_says_what_the_predictor_says_of_grey_images(digits, tmp_path):
    images = RunDirectory.open(digits).dataset('val').images[::20]
    paths = [tmp_path / f'{i}.png' for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image[0].numpy()).save(path)
    predictions = Predictor(digits)([str(path) for path in paths])
    assert {p.known for p in predictions} == {True, False}
    printed = example(digits, paths)
    for path, prediction, (name, score) in zip(paths, predictions, printed, strict=True):
        assert name == f'{path} {prediction.label if prediction.known else "none of these"}'
        assert float(score) == pytest.approx(prediction.score, abs=1.01e-4)


def test_the_example_crops_and_colours_as_the_evaluation_does(folder, tmp_path):
    """Transparent parts and 16 bits included."""
    rng = np.random.default_rng(0)
    paths, sizes = [], [(40, 31), (23, 57), (20, 20), (16, 16)]
    for i, size in enumerate(sizes):
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels) if i != 1 else Image.fromarray(pixels[..., 0])
        paths.append(tmp_path / f'{i}.png')
        picture.save(paths[-1])
    wide = rng.integers(0, 4096, (30, 40), np.uint16)
    drawing = rng.integers(0, 256, (30, 40, 4), np.uint8)
    for name, values in dict(wide=wide, drawing=drawing).items():
        paths.append(tmp_path / f'{name}.png')
        Image.fromarray(values).save(paths[-1])
    predictor = Predictor(folder, threshold=None)
    printed = example(folder, paths)
    for path, prediction, (name, score) in zip(
        paths, predictor([str(p) for p in paths]), printed, strict=True
    ):
        assert name == f'{path} {prediction.label}'
        # Pillow rounds the resized pixels in another place than torch does
        assert float(score) == pytest.approx(prediction.score, abs=2e-3)
    sums = predictor.logits(torch.stack([to_uint8(str(p), predictor.input) for p in paths]))
    assert sums.softmax(1).amax(1).tolist() == pytest.approx(
        [float(score) for _, score in printed], abs=2e-3
    )


# ------------------------------------------------------------ model.json
def test_model_json_has_what_a_program_needs(digits, facts):
    predictor = Predictor(digits)
    assert facts['classes'] == predictor.classes
    assert facts['class_counts'] == predictor.class_counts
    assert facts['splits'] == predictor.splits
    assert facts['thresholds'] == dict(many=100, few=20)
    assert tuple(facts['threshold']) == predictor.threshold
    assert facts['output'] == dict(name='logits', dtype='float32', score='sigmoid')
    given = {key: facts['input'][key] for key in ('channels', 'height', 'width', 'dtype', 'layout')}
    assert given == dict(channels=1, height=8, width=8, dtype='uint8', layout='NCHW')
    assert facts['normalisation'] == dict(inside=True, mean=[0.305], std=[0.376], pad=0)
    checkpoint = digits / 'epoch_2.pth'
    assert facts['checkpoint'] == dict(name='epoch_2.pth', sha256=sha256(checkpoint))
    (entry,) = facts['files']
    assert entry['sha256'] == sha256(digits / 'export' / 'model.onnx')
    assert entry['bytes'] == (digits / 'export' / 'model.onnx').stat().st_size
    assert entry['largest_difference'] <= 1e-4 * entry['largest_logit']
    assert {'bce3s', 'torch', 'onnx', 'onnxruntime'} <= facts['versions'].keys()


def test_parameters_are_those_of_the_exported_network(digits, facts):
    torch_file = torch.load(digits / 'epoch_2.pth', weights_only=True)['state_dict']
    learned = [
        value
        for name, value in torch_file.items()
        if not re.search(r'running_|num_batches|class_counts', name)
    ]
    assert facts['network']['parameters'] == sum(value.numel() for value in learned)


# ------------------------------------------------------------ the card
def test_the_card_of_a_run(digits, facts):
    card = (digits / 'export' / 'MODEL_CARD.md').read_text()
    report = json.loads((digits / 'report.json').read_text())
    front = yaml.safe_load(card.split('---\n')[1])
    (result,) = front['model-index'][0]['results']
    assert result['metrics'][0]['value'] == round(report['all'], 2)
    assert '---\n\n# digits_bce, seed 0\n' in card
    assert row(card, 'Few') == ['Few', '4', '41', '6 to 16']
    assert row(card, 'Many') == ['Many', '1', '120', '120']
    results = card.split('## Results')[1]
    assert row(results, 'Few')[:4] == ['Few', '4', '200', f'{report["few"]:.2f}']
    assert row(results, 'Many')[2] == '50'
    assert 'Many rests on 50 images only' in results
    assert f'the threshold of that class, {facts["threshold"][0]:.4g}, chosen on 40' in results
    assert '12.50' in row(results.split('## None of these')[1], 'All')
    assert 'from scratch on 405 images' in card
    assert 'The scores were not calibrated' in card
    assert facts['checkpoint']['sha256'] in card
    assert facts['files'][0]['sha256'] in card
    assert 'sigmoid' in card
    assert 'softmax' not in card
    texts = re.sub(r'```.+?```', '', card, flags=re.S).replace('## None of these', '')
    assert 'None' not in texts
    assert 'nan' not in texts
    assert str(digits) not in card
    assert not re.search(r'(?<![\w.])/(home|tmp|work|root)/', card)


def test_the_card_of_a_folder(folder):
    card = (folder / 'export' / 'MODEL_CARD.md').read_text()
    assert 'softmax' in card
    assert '1 class was learned from fewer than 5 images' in card  # cat: 2
    assert row(card, 'cat')[:3] == ['cat', 'Few', '2']
    assert row(card.split('## Results')[1], 'Few')[2] == '12'
    assert 'Few rests on 12 images only' in card
    assert 'every image gets one of the classes' in card
    assert row(card, 'Many') == ['Many', '0', '0', '-']


def test_without_a_report_the_accuracy_is_unknown(copied):
    (copied / 'report.json').unlink()
    facts = of_run(copied)
    assert facts['results'] is None
    assert facts['rejection'] is None
    assert facts['class_counts'] == [120, 86, 61, 44, 31, 22, 16, 11, 8, 6]
    card = format_card(facts)
    assert 'The accuracy of this model is unknown. ' in card
    assert 'has no report.json' in card
    assert 'versions: unknown' in card
    assert 'Accuracy' not in card
    assert 'every image gets one of the classes' in card


def test_a_report_of_another_epoch_lends_its_history_but_not_its_threshold(copied):
    facts = of_run(copied, copied / 'epoch_1.pth')
    history = json.loads((copied / 'report.json').read_text())['history']
    assert facts['rejection'] is None
    assert facts['results']['all'] == history[0]['all']
    assert facts['results'].get('per_class') is None
    card = format_card(facts)
    assert 'epoch 1 of 2' in card
    assert 'The training was not at its end: epoch 1 of 2' in card
    assert 'from the history of the report, which is of epoch 2' in card
    assert row(card.split('## Results')[1], 'All')[3:] == [f'{history[0]["all"]:.2f}', 'unknown']
    report = json.loads((copied / 'report.json').read_text()) | dict(history=history[1:])
    (copied / 'report.json').write_text(json.dumps(report))
    card = format_card(of_run(copied, copied / 'epoch_1.pth'))
    assert 'of epoch 2, this model of epoch 1, which was not validated' in card


def test_a_report_of_the_test_tool_on_this_checkpoint_is_used(copied):
    set_rejection(copied, 0.125, name='test/report.json', epoch=1, all=12.34)
    facts = of_run(copied, copied / 'epoch_1.pth')
    assert facts['threshold'] == [0.125] * 10
    assert facts['results']['all'] == 12.34
    assert of_run(copied)['threshold'] != [0.125] * 10


def test_a_report_of_other_classes_is_not_used(copied):
    set_rejection(copied, 0.5, class_counts=[1] * 10)
    facts = of_run(copied)
    assert facts['results'] is None
    assert 'of other classes than the checkpoint' in format_card(facts)


def test_data_that_are_gone_leave_random_pixels_and_unknown_numbers(folder, tmp_path):
    run = Path(shutil.copytree(folder, tmp_path / 'run', ignore=lambda *_: ['export']))
    config = run / 'digits_ce.py'
    text = re.sub(r"data_root='[^']+'", "data_root='gone'", config.read_text())
    config.write_text(text)
    facts = of_run(run)
    assert facts['results']['images_per_class'] is None
    card = format_card(facts)
    assert row(card.split('## Results')[1], 'Few')[2] == 'unknown'
    assert 'How many images each split has there is not known' in card


def test_more_than_two_hundred_classes_are_folded(facts):
    def with_classes(number):
        return facts | dict(
            classes=[f'c{i}' for i in range(number)],
            class_counts=[3] * number,
            splits=['few'] * number,
            results=None,
        )

    assert '<details>' not in format_card(with_classes(200))
    card = format_card(with_classes(1201))
    assert '<details><summary>All 1,201 classes</summary>\n\n| Class' in card
    assert card.count('\n| c') == 1201
    assert '1,201 classes were learned from fewer than 5 images' in card


def test_names_do_not_break_the_table(facts):
    facts['classes'][9] = 'a|b\nc'
    assert '| a\\|b c | Few | 6 |' in format_card(facts)


MARKUP = '<script>alert(1)</script>|`a`&amp;\n# [x](y)'


def test_no_name_is_markup(facts):
    facts |= dict(name=MARKUP, classes=[MARKUP] * 10, no_results=MARKUP)
    facts['results'] |= dict(dataset=MARKUP, split=MARKUP, selection=MARKUP, per_class=[1.0] * 10)
    facts['rejection'] |= dict(chosen_on=MARKUP, measured_on=MARKUP)
    facts['training'] |= dict.fromkeys(
        ('dataset', 'config', 'config_sha256', 'started_from', 'device', 'precision'), MARKUP
    )
    facts['training']['versions'] = {MARKUP: MARKUP}
    facts['checkpoint']['name'] = facts['files'][0]['compared_on'] = MARKUP
    for found in (facts, facts | dict(results=None)):
        card = re.sub(r'```.+?```', '', format_card(found).split('---\n', 2)[2], flags=re.S)
        assert '\\<script\\>' in card
        assert not re.search(r'(?<!\\)(<|&|`a`|\[x)|\|`', card)
        assert '\n# [' not in card
    assert len([line for line in card.splitlines() if line.startswith('| \\<script')]) == 10


def test_a_problem_with_the_report_names_no_folder_of_this_machine(copied, monkeypatch):
    (copied / 'report.json').write_text('{"all": 1')
    monkeypatch.chdir(copied.parent)
    for folder in (copied, Path('run')):
        told = of_run(folder)['no_results']
        assert told.startswith('run/report.json cannot be read as a report')
        assert str(copied.parent) not in told
    monkeypatch.chdir(copied)
    assert of_run('.')['no_results'].startswith('run/report.json cannot be read as a report')


@pytest.mark.parametrize(
    'changes', [dict(thresholds=None), dict(all='high'), dict(per_class=[1.0])]
)
def test_a_report_of_wrong_types_is_said_on_the_card(copied, changes):
    report = json.loads((copied / 'report.json').read_text())
    (copied / 'report.json').write_text(json.dumps(report | changes))
    assert main([str(copied)]) == 0
    found = json.loads((copied / 'export/model.json').read_text())
    assert found['results'] is None
    assert 'run/report.json is not a report of this project' in found['no_results']


def test_the_hash_of_the_data_is_of_what_it_is_said_to_be(facts):
    facts['training']['subset'] = dict(sha256='ab12')
    assert 'SHA-256 of the images and labels: ab12.' in format_card(facts)
    facts['training']['subset'] = dict(list='train.csv', sha256='ab12')
    assert 'SHA-256 of the list train.csv: ab12.' in format_card(facts)
    facts['training']['subset'] = dict(size=3)
    assert 'SHA-256 of the l' not in format_card(facts)


def test_a_best_checkpoint_and_other_weights_are_named(facts):
    facts['results'] |= dict(selection='best on test', precision='bfloat16')
    facts['training']['started_from'] = 'torchvision://resnet50'
    card = format_card(facts)
    assert 'Figures chosen so are higher than on new data' in card
    assert 'multiplied in bfloat16 there; the files do in float32' in card
    assert 'started from the weights torchvision://resnet50' in card
    assert 'from scratch' not in card


def test_classes_that_are_never_right_are_counted(facts):
    facts['results']['per_class'] = [100.0] * 8 + [0.0, 0.0]
    assert '2 classes of 10 were never recognised' in format_card(facts)
    facts['results']['per_class'] = [100.0] * 9 + [2.0]
    assert 'The worst class is 9: 2.00 %' in format_card(facts)


# ------------------------------------------------------------ how uncertain
def test_standard_error_in_closed_form():
    # 50 of 100: p = 52/104 = 1/2, and the error is 100 sqrt(1/4 / 100) = 5
    results = dict(images_per_class=[100] * 4, per_class=[50.0, 50.0, 50.0, 50.0])
    assert standard_error([True, False, False, False], results) == pytest.approx(5)
    assert standard_error([True] * 4, results) == pytest.approx(5 / 2)  # of a mean of four
    always = dict(images_per_class=[4], per_class=[100.0])  # 6 of 8
    assert standard_error([True], always) == pytest.approx(100 * (0.75 * 0.25 / 4) ** 0.5)
    assert standard_error([False], always) is None
    assert standard_error([True], dict(images_per_class=None, per_class=[1.0])) is None
    empty = dict(images_per_class=[0, 100], per_class=[None, 50.0])
    assert standard_error([True, True], empty) == pytest.approx(5)


def test_standard_error_covers_as_many_as_it_should():
    rng = np.random.default_rng(0)
    truth, n = np.array([0.9, 0.6, 0.3]), np.array([40, 20, 10])  # of classes
    right = rng.binomial(n, truth, (4000, 3))
    covered = 0
    for counts in right:
        accuracies = (100 * counts / n).tolist()
        results = dict(images_per_class=n.tolist(), per_class=accuracies)
        error = standard_error([True] * 3, results)
        covered += abs(np.mean(accuracies) - 100 * truth.mean()) <= 2 * error
    assert 0.93 < covered / 4000 < 0.98

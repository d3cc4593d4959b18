"""Exported networks against the evaluation's logits; what is refused, and what is then left."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

from bce3s.config import load_config
from bce3s.engine.outputs import run_outputs
from bce3s.engine.run_directory import RunDirectory
from bce3s.errors import BCE3SError
from bce3s.inference.export import (
    FORMATS,
    Agreement,
    ExportedNetwork,
    Format,
    agreement,
    export,
    float32_model,
    model_scores,
    quiet,
)
from bce3s.inference.export_command import main
from bce3s.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
FILES = dict(onnx='model.onnx', torchscript='model.ts', pt2='model.pt2')


@pytest.fixture(scope='module')
def exported(digits):
    assert main([str(digits), '--format', *FILES]) == 0
    return digits / 'export'


@pytest.fixture
def fake(monkeypatch):
    """Makes the format pt2 write eight bytes; ``shift`` is added to the scores of its file."""

    def use(original, shift=0.0):
        kind = Format(
            'pt2',
            'model.pt2',
            'torch.export',
            lambda _network, _example, file, _metadata: file.write(b'8 bytes.') and None,
            lambda _path: lambda images: original(images) + shift,
        )
        monkeypatch.setitem(FORMATS, 'pt2', kind)
        return kind

    return use


def random_images(number, shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (number, *shape), dtype=torch.uint8, generator=generator)


def small_model(head=(), preprocessor=(), **backbone):
    """A ResNet-8 with random weights, in evaluation mode."""
    init_default_scope('bce3s')
    cfg = load_config(str(ROOT / 'configs/bce3s/digits.py'), []).model
    cfg.backbone.update(depth=8, **backbone)
    cfg.head.update(dict(head))
    cfg.data_preprocessor.update(dict(preprocessor))
    torch.manual_seed(0)
    return MODELS.build(cfg).eval().requires_grad_(False)


# ------------------------------------------------------------ the same scores
@pytest.mark.parametrize('name', FILES)
def test_every_evaluation_image_gets_the_logits_of_the_evaluation(digits, exported, name):
    run = RunDirectory.open(digits)
    images = run.dataset('val').images
    with quiet(), torch.no_grad():
        scores = FORMATS[name].load(exported / FILES[name])
        batches = [scores(part) for part in images.split([1, 2, 3, len(images) - 6])]
    given = torch.cat(batches)
    assert given.dtype == torch.float32
    wanted = run_outputs(run, 'val').logits
    np.testing.assert_allclose(given, wanted, atol=1e-5 * np.abs(wanted).max())
    assert np.abs(wanted).max() > 0.1  # or the comparison would say nothing


def test_the_graph_takes_bytes_of_any_number_and_is_one_file(exported):
    onnx = pytest.importorskip('onnx')
    model = onnx.load(exported / 'model.onnx', load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    given, result = model.graph.input[0], model.graph.output[0]
    assert (given.name, result.name) == ('images', 'logits')
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert result.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    dims = [d.dim_value or d.dim_param for d in given.type.tensor_type.shape.dim]
    assert dims == ['N', 1, 8, 8]
    assert [entry.version for entry in model.opset_import if not entry.domain] == [18]
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    names = {path.name for path in exported.iterdir()}
    assert names == {*FILES.values(), 'model.json', 'MODEL_CARD.md'}


@pytest.mark.parametrize('name', FILES)
def test_each_file_says_what_its_outputs_are(exported, name):
    facts = json.loads((exported / 'model.json').read_text())
    path, keys = str(exported / FILES[name]), ('classes', 'threshold', 'input', 'normalisation')
    if name == 'onnx':
        session = pytest.importorskip('onnxruntime').InferenceSession(path)
        found = session.get_modelmeta().custom_metadata_map
    else:
        found = dict.fromkeys(keys, '')
        load = torch.jit.load if name == 'torchscript' else torch.export.load
        load(path, **{dict(torchscript='_extra_files', pt2='extra_files')[name]: found})
    found = {key: json.loads(found[key]) for key in keys}
    assert found.pop('threshold') == facts['rejection']['thresholds']
    assert found == {key: facts[key] for key in found}
    assert found['classes'] == [str(k) for k in range(10)]


@pytest.mark.parametrize(
    ('head', 'preprocessor', 'backbone'),
    [
        (dict(normalize_weight=False, bias=False), {}, {}),
        (dict(normalize_feature=True, scale=16.0), dict(pad=2), {}),
        (
            dict(scale=0.25),
            dict(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), pad=1),
            dict(in_channels=3),  # of grey images
        ),
    ],
)
def test_folded_weights_padding_and_colours(head, preprocessor, backbone):
    model = small_model(dict(classifier=head), preprocessor, **backbone)
    images = random_images(5, (1, 8, 8))
    found = model_scores(model)(images)
    # the preprocessor as it is called in an evaluation, and the classifier by its equation
    data = dict(inputs=images, data_samples=dict(labels=torch.zeros(5)))
    feats = model.features(model.data_preprocessor(data)['inputs'])
    if head.get('normalize_feature'):
        feats = feats / feats.norm(dim=1, keepdim=True)
    layer = model.head.classifier
    weight = layer.weight
    if head.get('normalize_weight', True):
        weight = weight / weight.norm(dim=1, keepdim=True)
    bias = 0 if layer.bias is None else layer.bias
    wanted = head.get('scale', 1.0) * (feats @ weight.T + bias)
    tolerance = 1e-5 * float(wanted.abs().max())
    torch.testing.assert_close(found, wanted, atol=tolerance, rtol=0)
    torch.testing.assert_close(ExportedNetwork(model)(images), wanted, atol=tolerance, rtol=0)


def test_a_bf16_run_is_exported_in_float32(copied):
    path = copied / 'digits_bce.py'
    wanted = _logits(copied)
    path.write_text(path.read_text().replace('model = dict(', "model = dict(precision='bf16',"))
    run = RunDirectory.open(copied)
    assert run.config.model.precision == 'bf16'
    assert torch.equal(_logits(copied), wanted)
    with torch.no_grad():
        bf16 = model_scores(run.model()[0].cpu())(random_images(4, (1, 8, 8)))
    assert not torch.equal(bf16, wanted)


def _logits(folder):
    model, _ = float32_model(RunDirectory.open(folder))
    return ExportedNetwork(model)(random_images(4, (1, 8, 8)))


def test_a_small_transformer_in_all_formats(tmp_path):
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
    backbone = dict(arch=arch, img_size=16, patch_size=8, out_type='avg_featmap', final_norm=False)
    model = _imagenet_model('configs/bce3s/imagenet_lt_vit_b16.py', **backbone)
    _export_all(model, (3, 16, 16), tmp_path, 16)


def test_three_experts_are_one_linear_map():
    model, images = (
        _imagenet_model('configs/rivals/sade.py', depth=8),
        random_images(5, (3, 16, 16)),
    )
    wanted = model_scores(model)(images)
    torch.testing.assert_close(ExportedNetwork(model)(images), wanted, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_three_experts_in_all_formats(tmp_path):
    _export_all(_imagenet_model('configs/rivals/sade.py', depth=8), (3, 16, 16), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('config', 'backbone'),
    [
        ('configs/bce3s/imagenet_lt_r50.py', {}),
        ('configs/bce3s/imagenet_lt_x50.py', {}),
        ('configs/bce3s/imagenet_lt_vit_b16.py', dict(img_size=64)),
    ],
)
def test_the_backbones_of_the_configs(config, backbone, tmp_path):
    _export_all(_imagenet_model(config, **backbone), (3, 64, 64), tmp_path)


@pytest.mark.slow
def test_densenet(tmp_path):
    options = [
        "model.backbone=dict(_delete_=True, type='DenseNet', arch='121')",
        'model.head.in_channels=1024',
    ]
    model = _imagenet_model('configs/icml/nc/cifar10_r18_sgd.py', options)
    _export_all(model, (3, 64, 64), tmp_path)


def _imagenet_model(config, options=(), **backbone):
    init_default_scope('bce3s')
    cfg = load_config(str(ROOT / config), options).model
    cfg.backbone.update(backbone)
    if isinstance(backbone.get('arch'), dict):
        cfg.head.in_channels = backbone['arch']['embed_dims']
        cfg.head.num_classes = 7
    cfg.compile = False
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(cfg)).eval().requires_grad_(False)
    model.precision = 'fp32'
    return model


def _export_all(model, shape, folder, seed=0):
    network, original = ExportedNetwork(model), model_scores(model)
    images = random_images(8, shape, seed)
    for kind in FORMATS.values():
        done = export(network, original, kind, folder, images, {})
        assert done.agreement.difference <= 1e-5 * done.agreement.scale
        assert done.agreement.images == 8
        others = random_images(3, shape, seed + 1)
        with quiet(), torch.no_grad():
            given = kind.load(done.path)(others)
        torch.testing.assert_close(given, original(others), atol=1e-4, rtol=1e-4)


# ------------------------------------------------------------ the check
def test_agreement_by_hand():
    wanted = torch.zeros(8, 2)
    wanted[:, 0], wanted[3] = 1.0, torch.tensor([-4.0, -2.0])
    given = wanted.clone()
    given[5] = torch.tensor([0.75, 1.5])  # its largest class is another one
    images = torch.arange(8)[:, None]
    sizes = []

    def of(table):
        def scores(batch):
            sizes.append(len(batch))
            return table[batch[:, 0]]

        return scores

    found = agreement(of(wanted), of(given), images)
    assert found == Agreement(difference=1.5, scale=4.0, same=7, images=8)
    assert sizes == [1, 1, 7, 7]
    assert not found.fine
    assert Agreement(3.9e-4, 4.0, 8, 8).fine
    assert not Agreement(4.1e-4, 4.0, 8, 8).fine


def test_scores_that_are_not_finite_are_not_agreed_with():
    images, fine = torch.zeros(8, 1), lambda batch: torch.ones(len(batch), 3)
    infinite = lambda batch: torch.full((len(batch), 3), torch.nan)  # noqa: E731
    assert not agreement(fine, infinite, images).fine
    assert not agreement(fine, lambda batch: torch.ones(len(batch), 2), images).fine
    with pytest.raises(BCE3SError, match='not finite'):
        agreement(infinite, infinite, images)


@pytest.mark.parametrize('there', [False, True])
def test_a_file_with_other_scores_is_not_kept(digits, tmp_path, fake, there):
    model, _ = float32_model(RunDirectory.open(digits))
    original, images = model_scores(model), random_images(8, (1, 8, 8))
    if there:
        (tmp_path / 'model.pt2').write_bytes(b'earlier')
    with pytest.raises(BCE3SError, match=r'model\.pt2 is not kept'):
        export(ExportedNetwork(model), original, fake(original, 0.01), tmp_path, images, {})
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b'earlier'] * there
    export(ExportedNetwork(model), original, fake(original, 1e-7), tmp_path, images, {})
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b'8 bytes.']


def test_what_an_exporter_raises_is_a_sentence(digits, tmp_path):
    def fail(_network, _example, _file, _metadata):
        raise NotImplementedError('no such operator\nwith many lines')

    kind = Format('onnx', 'model.onnx', 'ONNX', fail, None)
    model, _ = float32_model(RunDirectory.open(digits))
    with pytest.raises(BCE3SError, match=r'cannot be written .*no such operator\)'):
        export(ExportedNetwork(model), None, kind, tmp_path, random_images(8, (1, 8, 8)), {})
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------ the tool
def test_the_tool_says_what_it_measured(digits, fake, capsys, tmp_path):
    original = model_scores(float32_model(RunDirectory.open(digits))[0])
    fake(original)
    assert main([str(digits), '--format', 'pt2', 'pt2', '--out', str(tmp_path / 'a/b')]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 'epoch_2.pth: checked on DigitsLT, test' in lines[0]
    assert lines.count('torch.export ...') == 1
    (row,) = [line for line in lines if line.startswith('| pt2')]
    cells = [cell.strip() for cell in row.strip('|').split('|')]
    assert cells[1:3] == ['model.pt2', '0.00']
    assert cells[3].startswith('0.0e+00 of ')
    assert cells[4] == '8 of 8'
    assert sorted(path.name for path in (tmp_path / 'a/b').iterdir()) == [
        'MODEL_CARD.md',
        'model.json',
        'model.pt2',
    ]


def test_one_format_fails_and_the_others_are_kept(digits, fake, monkeypatch, capsys, tmp_path):
    fake(model_scores(float32_model(RunDirectory.open(digits))[0]))
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    assert main([str(digits), '--format', 'onnx', 'pt2', '--out', str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert 'pip install onnx onnxscript onnxruntime' in captured.err
    assert 'onnxruntime is not there' in captured.err
    assert captured.err.count('\n') == 1
    facts = json.loads((tmp_path / 'model.json').read_text())
    assert [entry['file'] for entry in facts['files']] == ['model.pt2']
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'MODEL_CARD.md',
        'model.json',
        'model.pt2',
    ]


def test_a_torch_without_torchscript(digits, monkeypatch, capsys, tmp_path):
    monkeypatch.delattr(torch.jit, 'trace')
    assert main([str(digits), '--format', 'torchscript', '--out', str(tmp_path)]) == 1
    assert 'no TorchScript any more: use --format onnx pt2' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------ bad input
def _refused(arguments, capsys, *words):
    assert main([str(argument) for argument in arguments]) == 1
    text = capsys.readouterr().err
    assert text.startswith('error: ')
    assert text.count('\n') == 1
    assert all(word in text for word in words), text


def test_no_run_and_no_checkpoint(copied, capsys, tmp_path):
    _refused([tmp_path / 'none'], capsys, 'is no work dir of a run')
    assert not (tmp_path / 'none').exists()
    _refused([copied, tmp_path / 'x.pth'], capsys, 'x.pth does not exist')
    for path in copied.glob('*.pth'):
        path.unlink()
    _refused([copied], capsys, 'holds no valid checkpoint')
    assert not (copied / 'export').exists()


def test_an_output_folder_that_cannot_be_written_to(digits, capsys, tmp_path):
    (tmp_path / 'file').write_text('')
    _refused([digits, '--out', tmp_path / 'file' / 'out'], capsys, 'cannot write to', 'file/out')


def test_a_checkpoint_of_another_network(copied, capsys):
    path = copied / 'digits_bce.py'
    path.write_text(path.read_text().replace('depth=8', 'depth=14'))
    _refused([copied], capsys, 'of another architecture than this config')
    path.write_text(path.read_text().replace('CIFARResNet', 'OldResNet'))
    _refused([copied], capsys, 'OldResNet')


def test_a_model_without_a_classifier_and_one_with_another_preprocessor():
    model = small_model()
    model.data_preprocessor = torch.nn.Identity()
    with pytest.raises(BCE3SError, match='preprocessor Identity'):
        ExportedNetwork(model)
    del model.head.classifier
    with pytest.raises(BCE3SError, match='no head with a linear classifier'):
        ExportedNetwork(model)


def test_help_comes_without_torch():
    code = (
        'import sys; from bce3s.inference import export_command as c; '
        'c.parser().format_help(); sys.exit("torch" in sys.modules)'
    )
    assert subprocess.run([sys.executable, '-c', code], cwd=ROOT, timeout=600).returncode == 0
    assert set(FORMATS) == set(FILES)

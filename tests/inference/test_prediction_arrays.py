"""``predict --npz``: arrays that are read without a pickle, and agree with the predictions."""

import numpy as np
import pytest
import torch

from bce3s.inference.predict_command import main
from bce3s.inference.predictor import Predictor


@pytest.mark.parametrize('kind', ['softmax', 'sigmoid'])
def test_arrays(request, pictures, tmp_path, kind):
    run = request.getfixturevalue('trained_folder' if kind == 'softmax' else 'trained')
    folder, out = tmp_path / 'pictures', tmp_path / 'out' / 'a.npz'
    for name, known in (('bee', 'bee'), ('7', 'ant'), ('else', 'cat')):
        (folder / name).mkdir(parents=True)
        for path in (pictures / 'val' / known).iterdir():
            (folder / name / path.name).write_bytes(path.read_bytes())
    (folder / 'bee' / 'broken.png').write_bytes(b'')
    arguments = [str(run), str(folder), '--npz', str(out), '--threshold', 'none', '--workers', '0']
    assert main(arguments) == 1  # for the broken one
    predictor = Predictor(run, threshold=None)
    with np.load(out, allow_pickle=False) as found:
        arrays = {name: found[name] for name in found}
    paths = sorted(str(p) for p in folder.rglob('*.*') if p.name != 'broken.png')
    assert sorted(arrays['paths']) == paths
    assert arrays['classes'].tolist() == predictor.classes
    for path, label in zip(arrays['paths'], arrays['labels'], strict=True):
        name = path.split('/')[-2]
        assert label == (predictor.classes.index(name) if name in predictor.classes else -1)
    assert {-1} < set(arrays['labels'].tolist())
    np.testing.assert_allclose(arrays['probabilities'].sum(axis=1), 1, rtol=1e-5)
    features = torch.from_numpy(arrays['features'])
    logits = predictor.model.head(features.to(predictor.device)).detach().cpu()
    np.testing.assert_allclose(arrays['logits'], logits, rtol=1e-4, atol=1e-4)
    rows = logits.softmax(1) if kind == 'softmax' else logits.sigmoid()
    rows = rows / rows.sum(1, keepdim=True)
    np.testing.assert_allclose(arrays['probabilities'], rows, rtol=1e-3, atol=1e-6)
    said = [p.best for p in predictor(arrays['paths'].tolist())]
    assert said == arrays['classes'][arrays['probabilities'].argmax(axis=1)].tolist()


def test_another_ending(trained, tmp_path, capsys):
    (tmp_path / 'a.png').touch()
    assert main([str(trained), str(tmp_path / 'a.png'), '--npz', str(tmp_path / 'a.csv')]) == 1
    assert 'a.csv must end in .npz' in capsys.readouterr().err

"""The example of a model card: the exported network without this package."""

from __future__ import annotations

from typing import Any

ONNX = """\
import json, sys
import numpy as np, onnxruntime
from PIL import Image, ImageOps

facts = json.load(open('model.json'))
session = onnxruntime.InferenceSession('model.onnx', providers=['CPUExecutionProvider'])
threshold = facts['threshold']  # None: no image is rejected

def read(path):
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith('I'):  # more than 8 bits
        values = np.asarray(image)
        bits = {bits}
        image = Image.fromarray(np.minimum(values >> (bits - 8), 255).astype(np.uint8))
    if image.has_transparency_data:
        image, drawing = Image.new('RGB', image.size, {ground}), image.convert('RGBA')
        image.paste(drawing, mask=drawing)
    image = image.convert('{mode}')
{resize}
    return np.asarray(image).reshape({height}, {width}, {channels}).transpose(2, 0, 1)

logits = session.run(['logits'], {{'images': np.stack([read(path) for path in sys.argv[1:]])}})[0]
scores = {score}
for path, z, p in zip(sys.argv[1:], logits, scores):
    known = threshold is None or z.max() > threshold
    name = facts['classes'][z.argmax()] if known else 'none of these'
    print(path, name, round(float(p.max()), 4))
"""
FIT = '    image = image.resize(({width}, {height}), Image.BILINEAR)'
CENTRE = """\
    size = [int({resize} * side / min(image.size)) for side in image.size]
    image = image.resize(size, Image.BILINEAR)
    left, top = (round((side - {width}) / 2) for side in image.size)
    image = image.crop((left, top, left + {width}, top + {height}))"""
SCORES = dict(
    sigmoid='1 / (1 + np.exp(-logits))',
    softmax='np.exp(logits - logits.max(1, keepdims=True))\nscores /= scores.sum(1, keepdims=True)',
)
TORCH = {
    'model.ts': "torch.jit.load('model.ts')",
    'model.pt2': "torch.export.load('model.pt2').module()",
}


def usage(facts: dict[str, Any]) -> str:
    """How each of the files is used."""
    files = {entry['file'] for entry in facts['files']}
    parts = []
    if 'model.onnx' in files:
        parts.append(
            'With `numpy`, `onnxruntime` and `Pillow`, in the folder of this file '
            '(`python example.py IMAGE ...`):'
        )
        parts.append(f'```python\n{onnx_example(facts)}```')
    loaded = [text for file, text in TORCH.items() if file in files]
    if loaded:
        how = ' or '.join(f'`{text}(images)`' for text in loaded)
        parts.append(f'With PyTorch alone: {how} gives the logits of a uint8 tensor `images`.')
    return '\n\n'.join(parts) or 'No file was written.'


def onnx_example(facts: dict[str, Any]) -> str:
    """A program that prints a class or "none of these" for each image file."""
    given = facts['input']
    size = {key: given[key] for key in ('channels', 'height', 'width', 'resize')}
    bits = given['bits'] or 'max(8, int(values.max()).bit_length())'
    return ONNX.format(
        **size | dict(resize=(CENTRE if given['resize'] else FIT).format(**size)),
        bits=bits,
        ground=tuple(given['ground']),
        mode='L' if given['channels'] == 1 else 'RGB',
        score=SCORES[facts['output']['score']],
    )

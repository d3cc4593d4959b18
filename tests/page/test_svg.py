"""Figures as inline SVG: colours as variables, texts as texts, the same text every time."""

import base64
import io
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from PIL import Image

from bce3s.page.svg import (
    DARK,
    FEW,
    INK,
    MANY,
    MEDIUM,
    SERIES,
    SURFACE,
    VARIABLES,
    heat_map,
    new_figure,
    style,
    to_svg,
)

XLINK = 'xmlns:xlink="http://www.w3.org/1999/xlink"'


def drawn(title='title', label='label', colours=(MANY,), names=('a',)):
    figure, axes = new_figure()
    for i, colour in enumerate(colours):
        axes.plot([1, 2, 3], [i, i + 1, i], 'o-', color=colour)
    axes.set_xticks([1, 2, 3][: len(names)], names)
    axes.set_title(title)
    return to_svg(figure, label)


def parsed(svg):
    return ElementTree.fromstring(svg.replace('<svg ', f'<svg {XLINK} ', 1))


def texts(svg):
    return [''.join(element.itertext()) for element in parsed(svg).iter('text')]


# ----------------------------------------------------------------------------------------- the file
def test_every_colour_of_the_page_is_a_variable():
    svg = drawn(colours=VARIABLES)
    for colour, name in VARIABLES.items():
        assert f'var(--{name})' in svg
        assert colour not in svg.lower()


def test_a_colour_that_is_not_of_the_page_stays():
    assert '#123456' in drawn(colours=('#123456',))


def test_equal_figures_give_equal_text_and_others_share_no_id():
    first, again, other = drawn(), drawn(), drawn(colours=(FEW,))
    assert first == again
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for svg, own in zip((first, other), ids, strict=True):
        used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
        assert used == own


def test_it_says_what_it_shows_and_leaves_the_rest_of_the_page_alone():
    svg = drawn(label='worst & "best" <b>')
    root = parsed(svg)
    assert root.get('role') == 'img'
    assert root.get('aria-label') == 'worst & "best" <b>'
    assert root.get('viewBox') == '0 0 460 300'
    assert '<style' not in svg  # which would hold for the whole page
    assert 'font-family' not in svg


@pytest.mark.parametrize(
    'name', ['<script>alert(1)</script>', '$x$', r'a\frac{', 'a & b', '日本', 'id="f" #1c2128']
)
def test_any_name_is_written_as_it_is(name):
    svg = drawn(title=name, names=(name, 'b', 'c'))
    assert texts(svg).count(name) == 2
    assert '<script' not in svg


def test_ticks_of_a_logarithmic_axis_are_plain_numbers():
    figure, axes = new_figure()
    axes.plot([1, 2], [0.01, 20000])
    axes.set_yscale('log')
    found = texts(to_svg(figure, 'log'))
    assert {'0.01', '1', '100', '10,000'} <= set(found)
    assert not [text for text in found if 'math' in text or '$' in text]


def test_a_heat_map_is_an_image_whose_opacity_is_the_value():
    figure, axes = new_figure()
    heat_map(axes, np.array([[0.0, 0.5], [np.nan, 2.0]]), '#336699')
    found = re.search(r'data:image/png;base64,([^"]+)"', to_svg(figure, 'heat'))
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))).convert('RGBA'))
    assert sorted(set(pixels[..., 3].ravel().tolist())) == pytest.approx([0, 128, 255], abs=1)
    assert pixels[pixels[..., 3] == 255][0, :3].tolist() == [0x33, 0x66, 0x99]


def test_dots_drawn_as_strokes_without_length_are_kept():
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    places = np.random.default_rng(0).random((200, 2))
    with style():
        figure, axes = new_figure()
        path = Path(np.repeat(places, 2, axis=0), np.tile([Path.MOVETO, Path.LINETO], 200))
        axes.add_patch(PathPatch(path, fill=False))
        svg = to_svg(figure, 'dots')
    assert max(path.count('L') for path in re.findall(r' d="([^"]+)"', svg)) == 200


def test_no_state_of_matplotlib_is_left_changed():
    before = dict(matplotlib.rcParams)
    drawn()
    with style():
        pass
    assert dict(matplotlib.rcParams) == before


# ------------------------------------------------------------------------------------------ colours
def linear(colour):
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(a, b):
    """WCAG 2: (L1 + 0.05) / (L2 + 0.05)."""
    low, high = sorted(linear(c) @ (0.2126, 0.7152, 0.0722) for c in (a, b))
    return (high + 0.05) / (low + 0.05)


# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB
VISIONS = dict(
    normal=np.eye(3),
    protan=[[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998]],
    deutan=[[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881]],
)  # fmt: skip


def lab(colour, vision):
    rgb = np.clip(np.array(VISIONS[vision]) @ linear(colour), 0, 1)
    xyz = (
        np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
        @ rgb
        / (0.95047, 1, 1.08883)
    )
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize('dark', [False, True])
def test_colours_can_be_read_on_the_surface(dark):
    surface = DARK[SURFACE] if dark else SURFACE
    for colour in VARIABLES:
        if VARIABLES[colour] not in ('surface', 'grid'):
            assert contrast(DARK[colour] if dark else colour, surface) >= 4.5, VARIABLES[colour]


@pytest.mark.parametrize('dark', [False, True])
@pytest.mark.parametrize('vision', VISIONS)
@pytest.mark.parametrize('colours', [(MANY, MEDIUM, FEW), SERIES[:4]])
def test_colours_are_told_apart_by_any_colour_vision(colours, vision, dark):
    """A difference of 10 in CIELAB is seen at a glance."""
    shown = [lab(DARK[c] if dark else c, vision) for c in colours]
    for i, a in enumerate(shown):
        for b in shown[:i]:
            assert np.linalg.norm(a - b) > 12


def test_dark_ink_is_light_and_every_colour_has_a_dark_one():
    assert set(DARK) == set(VARIABLES)
    assert linear(DARK[INK]).mean() > 0.7 > 0.1 > linear(DARK[SURFACE]).mean()

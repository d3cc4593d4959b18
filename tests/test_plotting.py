"""Figures: texts as they are, the same file every time, colours that can be told apart."""

import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest

from bce3s.plotting import INK, MUTED, SERIES, SPLIT_COLOURS, new_figure, style, to_png, to_svg


@style()
def drawn(title='title', log=False):
    figure, axes = new_figure()
    axes.plot([1, 2, 3], [0.01, 2, 20000], 'o-', color=INK)
    axes.set_title(title)
    if log:
        axes.set_yscale('log')
    return figure


def texts(figure):
    root = ElementTree.fromstring(to_svg(figure))
    return [''.join(e.itertext()) for e in root.iter('{http://www.w3.org/2000/svg}text')]


def test_equal_figures_give_equal_files():
    assert to_svg(drawn()) == to_svg(drawn()) != to_svg(drawn('other'))
    assert to_png(drawn()) == to_png(drawn())


@pytest.mark.parametrize(
    'name', ['<script>alert(1)</script>', '$x$', r'a\frac{', 'a & b', '日本', 'id="f" #1c2128']
)
@pytest.mark.filterwarnings('error')
def test_any_name_is_written_as_it_is(name):
    assert texts(drawn(name)).count(name) == 1
    assert '<script' not in to_svg(drawn(name))
    to_png(drawn(name))


def test_ticks_of_a_logarithmic_axis_are_plain_numbers():
    found = texts(drawn(log=True))
    assert {'0.01', '1', '100', '10,000'} <= set(found)
    assert not [text for text in found if 'math' in text or '$' in text]


def test_no_state_of_matplotlib_is_left_changed():
    before = dict(matplotlib.rcParams)
    to_svg(drawn())
    assert dict(matplotlib.rcParams) == before


# ------------------------------------------------------------------------------------------ colours
def linear(colour):
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


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


@pytest.mark.parametrize('colour', [INK, MUTED, *SPLIT_COLOURS.values(), *SERIES])
def test_colours_can_be_read_on_white(colour):
    """WCAG 2: (L1 + 0.05) / (L2 + 0.05)."""
    assert 1.05 / (linear(colour) @ (0.2126, 0.7152, 0.0722) + 0.05) >= 4.5


@pytest.mark.parametrize('vision', VISIONS)
@pytest.mark.parametrize('colours', [tuple(SPLIT_COLOURS.values()), SERIES[:4]])
def test_colours_are_distinguished_by_any_colour_vision(colours, vision):
    """A difference of 10 in CIELAB is seen at a glance."""
    found = [lab(c, vision) for c in colours]
    for i, a in enumerate(found):
        assert all(np.linalg.norm(a - b) > 12 for b in found[:i])

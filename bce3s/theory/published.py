"""Rows of Tables 8-11 of "BCE vs. CE in Deep Feature Learning": ResNet-18 (Table 8: all three
networks) after 100 epochs, ``lambda_W = lambda_H = 5e-4``, batch 128 and ``lambda_b = 5e-4`` where
nothing else is said. Means; the paper's sign of b.
"""

from __future__ import annotations

from typing import NamedTuple

DECAY = 5e-4
BATCH = 128


class Published(NamedTuple):
    """rho, s_pos, s_neg, b as printed."""

    rho: float
    s_pos: float
    s_neg: float
    b: float


# Table 11 (MNIST): loss, optimiser -> batch size -> row
BATCH_SIZES = {
    ('bce', 'AdamW'): {
        16: Published(189.2794, 6.5169, -5.3841, 1.2651),
        32: Published(242.1592, 6.7110, -4.5302, 1.7885),
        64: Published(300.8807, 7.1079, -3.4518, 2.5261),
        128: Published(357.9696, 7.7460, -2.1233, 3.5134),
        256: Published(455.2137, 7.6247, -1.6013, 3.8010),
        512: Published(590.9918, 7.2831, -1.3210, 3.8500),
        1024: Published(790.8874, 6.6204, -1.3148, 3.5830),
        2048: Published(1019.6438, 5.9625, -1.2607, 3.3303),
    },
    ('bce', 'SGD'): {
        16: Published(199.6890, 6.1841, -5.9379, 0.7828),
        32: Published(255.9898, 6.1508, -5.2761, 1.1506),
        64: Published(324.7408, 6.2846, -4.4319, 1.6456),
        128: Published(407.1362, 6.4008, -3.4987, 2.2170),
        256: Published(501.1286, 6.6422, -2.5493, 2.8605),
        512: Published(631.7796, 6.6413, -1.9155, 3.2338),
        1024: Published(816.6544, 6.3274, -1.5393, 3.3466),
        2048: Published(351.9647, 1.7449, -0.5243, 2.6332),
    },
    ('ce', 'SGD'): {
        16: Published(100.9731, 6.7176, -0.7538, -0.0074),
        32: Published(130.1404, 6.3375, -0.7110, -0.0074),
        64: Published(168.6290, 6.0159, -0.6737, -0.0074),
        128: Published(219.0960, 5.6439, -0.6302, -0.0074),
        256: Published(285.6314, 5.3200, -0.5936, -0.0074),
        512: Published(379.3403, 4.9776, -0.5535, -0.0073),
        1024: Published(522.5523, 4.6562, -0.5173, -0.0073),
        2048: Published(473.7898, 3.5759, -0.3972, -0.0072),
    },
    ('ce', 'AdamW'): {
        16: Published(87.6451, 6.5511, -0.7279, 0.0003),
        32: Published(118.0328, 6.2558, -0.6951, 0.0003),
        64: Published(158.4980, 5.9506, -0.6612, 0.0002),
        128: Published(212.2180, 5.6331, -0.6259, 0.0001),
        256: Published(282.9370, 5.3168, -0.5908, 0.0000),
        512: Published(375.4274, 4.9968, -0.5552, -0.0001),
        1024: Published(496.6912, 4.6627, -0.5199, -0.0190),
        2048: Published(668.3063, 4.3236, -0.4906, -0.0153),
    },
}

# Table 10 (MNIST, AdamW, BCE): lambda_b -> row; 0 is Table 9, initial mean 10
BIAS_DECAYS = {
    5e-1: Published(483.3321, 4.2399, -5.6315, 0.0036),
    5e-2: Published(482.1844, 4.2698, -5.5977, 0.0358),
    5e-3: Published(470.6640, 4.5928, -5.2753, 0.3577),
    5e-4: Published(356.5036, 7.7870, -2.0822, 3.5514),
    5e-5: Published(347.1199, 9.0726, -1.1593, 4.9903),
    5e-6: Published(350.0225, 9.2915, -1.0489, 5.2119),
    0.0: Published(350.4330, 9.3109, -1.0351, 5.2388),
}

# Table 8 (CIFAR-100, AdamW, BCE): network -> row
CIFAR100 = {
    'ResNet-18': Published(1708.9231, 4.0202, -5.6834, 1.1317),
    'ResNet-50': Published(1710.3754, 3.9356, -5.7441, 1.1239),
    'DenseNet-121': Published(1761.0126, 4.0875, -5.8613, 1.1306),
}

# Table 9 (MNIST, lambda_b = 0): the bias's initial mean -> its final mean
INITIAL_MEANS = (0, 1, 2, 3, 4, 5, 6, 8, 10)
FINAL_BIAS = {
    ('ce', 'AdamW'): (-0.0180, 0.9828, 1.9821, 2.9825, 3.9823, 4.9809, 5.9822, 7.9812, 9.9829),
    ('ce', 'SGD'): (-0.0179, 0.9821, 1.9821, 2.9821, 3.9820, 4.9820, 5.9820, 7.9821, 9.9821),
    ('bce', 'AdamW'): (5.2388, 5.2389, 5.2388, 5.2388, 5.2388, 5.2388, 5.2388, 5.2389, 5.2388),
    ('bce', 'SGD'): (3.0789, 3.6658, 4.1078, 4.4557, 4.7949, 5.1493, 5.5084, 6.3418, 7.4858),
}

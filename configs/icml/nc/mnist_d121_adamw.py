"""Neural collapse on MNIST: DenseNet-121, AdamW, BCE; no augmentation, decays in the loss.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 2 of Table 5.
MNIST in three channels of 32 x 32 (repeated, two black pixels around): our reading.
Published, Table 6 (epoch 100; A/A_Uni training, A/A_Uni test, mean bias):
CE 99.63/99.62, 99.29/99.22, 0.0002; BCE 100.00/100.00, 99.64/99.60, 3.5767.
Not measured yet.

    python tools/train.py configs/icml/nc/mnist_d121_adamw.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = [
    '../../_base_/datasets/mnist.py',
    '../../_base_/models/linear_d121.py',
    '../../_base_/schedules/adamw_100e_cosine.py',
    '../../_base_/measured_runtime.py',
]

model = dict(
    data_preprocessor=dict(pad=2),  # 28 x 28 to 32 x 32; one channel becomes three
    head=dict(
        decay=dict(weight=5e-4, feature=5e-4, bias=5e-4),
    ),
)
optim_wrapper = dict(optimizer=dict(weight_decay=0.0))

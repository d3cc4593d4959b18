"""Neural collapse on MNIST: ResNet-18, SGD, BCE; no augmentation, decays in the loss.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 1 of Table 5.
MNIST in three channels of 32 x 32 (repeated, two black pixels around): our reading.
Published, Table 6 (epoch 100; A/A_Uni training, A/A_Uni test, mean bias):
CE 100.00/100.00, 99.43/99.31, -0.0074; BCE 100.00/100.00, 99.59/99.52, 2.2170.
Not measured yet.

    python tools/train.py configs/icml/nc/mnist_r18_sgd.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = [
    '../../_base_/datasets/mnist.py',
    '../../_base_/models/linear_r18.py',
    '../../_base_/schedules/sgd_100e_step.py',
]

model = dict(
    data_preprocessor=dict(pad=2),  # 28 x 28 to 32 x 32; one channel becomes three
    head=dict(
        decay=dict(weight=5e-4, feature=5e-4, bias=5e-4),
    ),
)
optim_wrapper = dict(optimizer=dict(weight_decay=0.0))
default_hooks = dict(measures=dict(type='FeatureMeasuresHook'))

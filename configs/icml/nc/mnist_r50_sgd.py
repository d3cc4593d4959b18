"""Neural collapse on MNIST: ResNet-50, SGD, BCE; no augmentation, decays in the loss.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 1 of Table 5.
MNIST in three channels of 32 x 32 (repeated, two black pixels around): our reading.
Published, Table 6 (epoch 100; A/A_Uni training, A/A_Uni test, mean bias):
CE 99.68/99.64, 98.98/98.79, 0.0039; BCE 99.79/99.76, 99.01/98.88, 2.4674.
Not measured yet.

    python tools/train.py configs/icml/nc/mnist_r50_sgd.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = [
    '../../_base_/datasets/mnist.py',
    '../../_base_/models/linear_r50.py',
    '../../_base_/schedules/sgd_100e_step.py',
    '../../_base_/measured_runtime.py',
]

model = dict(
    data_preprocessor=dict(pad=2),  # 28 x 28 to 32 x 32; one channel becomes three
    head=dict(
        decay=dict(weight=5e-4, feature=5e-4, bias=5e-4),
    ),
)
optim_wrapper = dict(optimizer=dict(weight_decay=0.0))

"""Normalised features and weights with a scale: CIFAR-100, ResNet-18, BCE.

"Classification vs. Deep Feature Learning in Normalized Spaces with Different Scaling"; only its
abstract is public, so network, schedule and the scale 16 are ours: setting 3 of the ICML paper
(configs/icml/classification/cifar10_r18_sgd_da1.py) on CIFAR-100, but for the normalisation.
No published value is known to us. Not measured yet.

    python tools/train.py configs/normalized/cifar100_r18.py

CE: --cfg-options model.head.joint.type=CEJoint
The sweep: model.head.classifier.scale=1, 2, 4, ..., 64
BCE's bias has far to go at small scales; from the minimum of the unconstrained-features model it
starts with model.head.classifier.bias_mean=4.602, 2.317, 1.223, 0.793, 0.639, 0.567, 0.531 at
scale 1, 2, 4, 8, 16, 32, 64 (bce3s.theory.normalized.optimal_bias, K = 100).
"""

_base_ = '../icml/classification/cifar10_r18_sgd_da1.py'

train_dataloader = dict(dataset=dict(type='CIFAR100LT'))
val_dataloader = dict(dataset=dict(type='CIFAR100LT'))
model = dict(
    head=dict(
        num_classes=100,
        classifier=dict(normalize_weight=True, normalize_feature=True, scale=16.0),
    ),
)
default_hooks = dict(measures=dict(disturbances=True))

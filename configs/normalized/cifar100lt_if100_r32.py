"""Normalised features and weights with a scale: CIFAR-100-LT, imbalance factor 100, ResNet-32, BCE.

"Classification vs. Deep Feature Learning in Normalized Spaces with Different Scaling"; only its
abstract is public, so network, schedule and the scale 16 are ours: those of
configs/baselines/cifar100lt_if100_ce_r32.py with BCE, but for the normalisation.
No published value is known to us. Not measured yet.

    python tools/train.py configs/normalized/cifar100lt_if100_r32.py

CE: --cfg-options model.head.joint.type=CEJoint
The sweep: model.head.classifier.scale=1, 2, 4, ..., 64
BCE's bias has far to go at small scales; from the minimum of the unconstrained-features model it
starts with model.head.classifier.bias_mean=4.602, 2.317, 1.223, 0.793, 0.639, 0.567, 0.531 at
scale 1, 2, 4, 8, 16, 32, 64 (bce3s.theory.normalized.optimal_bias, K = 100).
"""

_base_ = [
    '../_base_/datasets/cifar100lt.py',
    '../_base_/models/plain_r32.py',
    '../_base_/schedules/sgd_320e.py',
]

model = dict(
    head=dict(
        joint=dict(type='BCEJoint'),
        classifier=dict(normalize_weight=True, normalize_feature=True, scale=16.0),
    ),
)
# as configs/baselines has it for this network
optim_wrapper = dict(optimizer=dict(lr=0.05, weight_decay=5e-4))
default_hooks = dict(
    schedule=dict(_delete_=True, type='CosineLRHook'),
    checkpoint=dict(interval=5),
    measures=dict(type='FeatureMeasuresHook', interval=5, disturbances=True),
)

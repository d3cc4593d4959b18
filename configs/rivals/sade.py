"""SADE: three experts on a shared first stage; CIFAR-100-LT, imbalance factor 100, ResNet-32.

Zhang et al., Self-Supervised Aggregation of Diverse Experts for Test-Agnostic Long-Tailed
Recognition (NeurIPS 2022, arXiv 2107.09249): cross-entropy; with the log prior in the logits; with
twice the reversed one taken away, too. Their mean predicts; the aggregation at test time, which
needs the test images, is not here.

On CIFAR-10-LT its authors take experts of the full width and half the rate.

The published figure could not be checked against its source, so it is left out.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/sade.py
"""

_base_ = '../_base_/rivals_experts.py'

model = dict(
    head=dict(
        joint=[
            dict(type='CEJoint'),
            dict(type='LogitAdjustedCE'),
            dict(type='InverseSoftmaxCE', tau=2.0),
        ],
    ),
)

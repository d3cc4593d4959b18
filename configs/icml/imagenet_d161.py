"""ImageNet-1k: a pretrained DenseNet-161 fine-tuned for 30 epochs with BCE.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), Table 3. The paper gives the optimiser, the
epochs and that the weights were pretrained for 90 epochs. Our reading of the rest: see
configs/icml/imagenet_r50.py.
Published A/A_Uni: CE 78.58/43.56, BCE 79.19/69.08.
Not measured yet.

    python tools/train.py configs/icml/imagenet_d161.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = './imagenet_r50.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='DenseNet',
        arch='161',
        init_cfg=dict(  # torchvision's weights, converted by mmpretrain
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/densenet/'
            'densenet161_4xb256_in1k_20220426-ee6a80a9.pth',
            prefix='backbone',
        ),
    ),
    head=dict(in_channels=2208),
)

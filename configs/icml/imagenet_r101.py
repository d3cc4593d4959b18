"""ImageNet-1k: a pretrained ResNet-101 fine-tuned for 30 epochs with BCE.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), Table 3. The paper gives the optimiser, the
epochs and that the weights were pretrained for 90 epochs. Our reading of the rest: see
configs/icml/imagenet_r50.py.
Published A/A_Uni: CE 78.47/38.85, BCE 78.88/70.46.
Not measured yet.

    python tools/train.py configs/icml/imagenet_r101.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = './imagenet_r50.py'

model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    ),
)

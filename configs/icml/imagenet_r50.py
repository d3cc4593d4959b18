"""ImageNet-1k: a pretrained ResNet-50 fine-tuned for 30 epochs with BCE.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), Table 3. The paper gives the optimiser, the
epochs and that the weights were pretrained for 90 epochs. Our reading: torchvision's first weights
and a new classifier; batch size 128, rate 1e-4 with a cosine, decay 0.05; random crops and flips.
The measures are those of the validation images, for the training set is large.
Published A/A_Uni: CE 76.74/34.48, BCE 77.12/66.92.
Not measured yet.

    python tools/train.py configs/icml/imagenet_r50.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = [
    '../_base_/datasets/imagenet.py',
    '../_base_/models/linear_r50_imagenet.py',
    '../_base_/schedules/adamw_30e_finetune.py',
]

default_hooks = dict(measures=dict(type='FeatureMeasuresHook', sets=('test',)))

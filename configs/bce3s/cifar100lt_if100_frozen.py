"""CIFAR-100-LT IF 100 on the features of a frozen EfficientNet-Lite0 (ImageNet-1k), two stages.

Not of a paper: what pretrained features bring. Published of fine-tuned CLIP ViT-B/16, a far larger
network trained on far more images: LIFT 82 (arXiv 2309.10019).

    python tools/train.py configs/bce3s/cifar100lt_if100_frozen.py \
        --cfg-options model.backbone.weights=FILE

FILE: model.safetensors of timm/tf_efficientnet_lite0.in1k; without the option it is fetched from
the Hub. Images are resized to 160 x 160 by the network's part of the graph.

Not measured yet.
"""

_base_ = [
    '../_base_/datasets/cifar100lt.py',
    '../_base_/models/bce3s_frozen.py',
    '../_base_/schedules/sgd_40e_frozen.py',
]

train_dataloader = dict(
    dataset=dict(rule='ldam'), batch_size=256, batch_sampler=dict(type='PairedBatchSampler')
)
model = dict(backbone=dict(size=160), head=dict(num_classes=100))

"""BCE3S in two stages, 90 + 10 epochs: Places-LT, ResNeXt-50.

AAAI 2026, arXiv 2511.14097. Our reading of the rest: the files below ``_base_``.

Expected All: not published. Others start from a pretrained ResNet-152: places_lt_r152.py.
Not measured yet.

    python tools/train.py configs/bce3s/places_lt_x50.py
    # 8 GPUs; then 2 machines with 8 each (NODE_RANK=1 on the second)
    B="--cfg-options train_dataloader.batch_size"
    tools/dist_train.sh configs/bce3s/places_lt_x50.py 8 $B=32
    export NNODES=2 NODE_RANK=0 MASTER_ADDR=HOST
    tools/dist_train.sh configs/bce3s/places_lt_x50.py 8 $B=16

All three have a global batch of 256; another one wants ``--auto-scale-lr``. Less memory:
``model.micro_batches=8``. 180 epochs, as ProCo's longer recipe: ``train_cfg.max_epochs=190``.
"""

_base_ = [
    '../_base_/datasets/places_lt.py',
    '../_base_/models/bce3s_x50.py',
    '../_base_/schedules/sgd_90e_two_stage.py',
]

train_dataloader = dict(
    # q of GLMC's partners on ImageNet-LT and iNaturalist
    batch_sampler=dict(type='PairedBatchSampler', partner=dict(type='PowerSampler', q=0.2)),
)
model = dict(head=dict(num_classes=365))

"""BCE3S in two stages, 100 + 10 epochs: Places-LT, ViT-B/16.

AAAI 2026, arXiv 2511.14097. BCE3S on transformers has not been published. Our reading of the rest:
the files below ``_base_``.

Expected All: not published.
Not measured yet.

    python tools/train.py configs/bce3s/places_lt_vit_b16.py
    # 8 GPUs; then 2 machines with 8 each (NODE_RANK=1 on the second)
    B="--cfg-options train_dataloader.batch_size"
    tools/dist_train.sh configs/bce3s/places_lt_vit_b16.py 8 $B=32
    export NNODES=2 NODE_RANK=0 MASTER_ADDR=HOST
    tools/dist_train.sh configs/bce3s/places_lt_vit_b16.py 8 $B=16

All three have a global batch of 256; another one wants ``--auto-scale-lr``. Less memory:
``model.micro_batches=8``. 180 epochs: ``train_cfg.max_epochs=190``.
"""

_base_ = [
    '../_base_/datasets/places_lt.py',
    '../_base_/models/bce3s_vit_b16.py',
    '../_base_/schedules/adamw_100e_two_stage.py',
]

train_dataloader = dict(
    # q of GLMC's partners on ImageNet-LT and iNaturalist
    batch_sampler=dict(type='PairedBatchSampler', partner=dict(type='PowerSampler', q=0.2)),
)
model = dict(head=dict(num_classes=365))

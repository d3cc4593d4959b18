"""BCE3S in two stages, 30 + 10 epochs: Places-LT, ResNet-152 pretrained on ImageNet.

The usual practice on Places-LT. Batch 128, rate 0.02, decay 5e-4, 30 epochs with a warm-up in the
first 5, as in PaCo (arXiv 2107.12028). Our reading of the rest: the files below ``_base_``.
torchvision's weights (230 MB) are downloaded when training begins.

Expected All: not published for BCE3S.
Not measured yet.

    python tools/train.py configs/bce3s/places_lt_r152.py
    # 8 GPUs; then 2 machines with 8 each (NODE_RANK=1 on the second)
    B="--cfg-options train_dataloader.batch_size"
    tools/dist_train.sh configs/bce3s/places_lt_r152.py 8 $B=16
    export NNODES=2 NODE_RANK=0 MASTER_ADDR=HOST
    tools/dist_train.sh configs/bce3s/places_lt_r152.py 8 $B=8

All three have a global batch of 128; another one wants ``--auto-scale-lr``. Less memory:
``model.micro_batches=8``.
"""

_base_ = [
    '../_base_/datasets/places_lt.py',
    '../_base_/models/bce3s_r152_pretrained.py',
    '../_base_/schedules/sgd_90e_two_stage.py',
]

train_cfg = dict(max_epochs=40, finetune_epochs=10)
train_dataloader = dict(
    batch_size=128,
    batch_sampler=dict(type='PairedBatchSampler', partner=dict(type='PowerSampler', q=0.2)),
)
auto_scale_lr = dict(base_batch_size=128)
model = dict(head=dict(num_classes=365))
optim_wrapper = dict(optimizer=dict(lr=0.02))
default_hooks = dict(schedule=dict(_delete_=True, type='TwoStageHook', lr=2e-4, warmup_epochs=5))

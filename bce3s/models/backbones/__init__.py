from .cifar_resnet import CIFARResNet as CIFARResNet

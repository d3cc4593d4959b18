from .cifar_resnet import CIFARResNet as CIFARResNet
from .cifar_resnet import ExpertsCIFARResNet as ExpertsCIFARResNet

"""One attention operation for every model of the laboratory: ``attention(q, k, v)``, see ``operation``."""

from attnlab.kernels.attention.arguments import PATHS
from attnlab.kernels.attention.operation import attention

__all__ = ["PATHS", "attention"]

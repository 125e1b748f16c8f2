"""Huang, Liang, Qin, Zhong and Lin 2023: channel attention of residual networks, seen as adaptive steps on a stiff
system.

"Self-attention" in the title means gates on the channels of a residual branch (squeeze and excitation), not softmax
attention. The stiffness index of a block is ||x_{t+1} - x_t|| / ||x_t||; of a solution of an ODE, ||u'|| / ||u||.
"""

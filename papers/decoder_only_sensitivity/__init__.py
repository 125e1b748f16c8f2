"""Decoder-only models as encoder-decoders with one softmax: source mass, sensitivity, biases, and flow through depth.

Source: Fu, Lam, Yu, So, Hu, Liu and Collier 2023.
"""

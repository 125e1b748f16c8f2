"""Hard-attention encoders and logic: temporal logic and counting compiled to weights, run on every word up to a length.

Sources: Barceló, Kozachinskiy, Lin and Podolskii 2024; Hao, Angluin and Frank 2022.
"""

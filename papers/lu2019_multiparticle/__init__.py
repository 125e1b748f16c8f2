"""Lu, Li, He, Sun, Dong, Qin, Wang and Liu 2019: the Transformer as a splitting scheme for a system of interacting particles.

Letters of the paper: F is attention (interaction, "diffusion"), G the feed-forward network ("convection"), gamma the step size,
L the number of layers, T = gamma L the horizon. Primes are derivatives: F'G is F' applied to G.
"""

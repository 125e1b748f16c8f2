"""Linear attention in context: optimal weights and risks, training dynamics, learning curves; four papers in one module.

Zhang, Frei, Bartlett 2024 and Ahn et al. 2023 on the optimum; Zhang, Singh, Latham, Saxe 2025 on the dynamics; Lu et al. 2025 on
finite pretraining data. Letters: d the dimension of the covariates, N the number of examples, S their covariance with
eigenvalues lam_d, A_d = 1 + (1 + tr S / lam_d) / N. The first and third papers leave the query's noise out, as there is none.
"""

"""What instruments should read on planted truth: null laws, biases, powers and exact values, in closed form or by quadrature."""

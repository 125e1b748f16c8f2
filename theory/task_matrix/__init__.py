"""What an operator can do on the tasks of the matrix, from the facts that it declares."""

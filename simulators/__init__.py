"""What actually happens: controlled tasks, small models trained as ensembles; one folder per subject."""

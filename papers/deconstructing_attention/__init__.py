"""Xue, Moosavi and Aletras 2025: which of its principles attention needs, on tasks whose outcome theory predicts; and mixtures
of heads."""

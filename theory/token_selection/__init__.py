"""Reduced training dynamics of attention over distinct and common tokens."""

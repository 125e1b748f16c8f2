"""The four levels at which a claim is judged, one file each, and how they are combined."""

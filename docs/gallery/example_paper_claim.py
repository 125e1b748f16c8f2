r"""
A published statement and its correction
========================================

Late in training the heads of an attention model on in-context regression drift along a valley of the risk, towards
smaller scales omega. As published the drift goes on for ever; at every finite context length the risk along the valley
has its minimum at a finite scale, where the drift ends. Both statements are claims, judged on the same runs.
"""

# %%
import tempfile

from attnlab.papers.lab import reproduce, show

results = reproduce(
    ["he2025.drift_without_end", "he2025.drift_ends"], scale="smoke", workers=1, progress=False, out=tempfile.mkdtemp()
)
results

# %%
# What the first one says, how it is judged, and why it is expected to be refuted:
show("he2025.drift_without_end")

# %%
# The numbers behind the verdicts, as arrays:
table = results.arrays()
for name, verdict, low, high in zip(table["id"], table["verdict"], table["low"], table["high"], strict=True):
    print(f"{verdict:<10}{name}  [{low:.5f}, {high:.5f}]")
assert results.as_expected

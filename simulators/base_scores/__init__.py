"""Random rows, planted scores, walks and rounds: what the scores that attention began with do."""

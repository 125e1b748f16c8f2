"""Every planted model says what it is, draws prompts and runs; the listing finds it."""

import numpy as np
import pytest

from attnlab.simulators.planted.planted import planted_model, planted_models


@pytest.mark.parametrize("name", planted_models())
def test_a_planted_model_is_what_it_says(name):
    made = planted_model(name)
    assert made.name == name and made.about and made.first_token
    prompts = made.draw(np.random.default_rng(0), 3)
    again = made.draw(np.random.default_rng(0), 3)
    assert (prompts.tokens == again.tokens).all()
    whole = made.model.run(prompts.tokens, made.model.sites())
    assert all(np.isfinite(x).all() for s, x in whole.items() if not s.endswith("scores"))
    shapes = {layer: whole[f"L{layer}.pattern"].shape[1] for layer in range(len(made.model.layers))}
    for heads in made.heads.values():
        assert all(head < shapes[layer] and strength > 0 for (layer, head), strength in heads.items())
    if made.corrupt:
        other = made.corrupt(np.random.default_rng(1), prompts)
        assert (other[:, -1] == prompts.tokens[:, -1]).all() and (other != prompts.tokens).any(1).all()
        assert (np.sort(other, 1) == np.sort(prompts.tokens, 1)).all() or (
            prompts.periods is None or len(set(prompts.periods)) > 1
        )


def test_an_unknown_name_is_an_error_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'induction'"):
        planted_model("inductoin")

"""The task matrix: one small model, any operator of the atlas as its mixer, trained on eight controlled tasks."""

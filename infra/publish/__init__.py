"""Models where other tools look for them: a Hugging Face folder with a model card, and an MLflow registry."""

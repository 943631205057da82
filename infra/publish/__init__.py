"""Models where other tools look for them: a Hugging Face folder with a model card, and an MLflow registry (`retune models export`).

folder.py           a verified model as a folder [io]
card.py             its model card. Pure
mlflow_registry.py  a version with its numbers and alias in an MLflow registry [io]
mlflow_client.py    MLflow's client, with its exceptions in our words [io]
"""

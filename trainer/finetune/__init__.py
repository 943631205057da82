"""Fine-tuning on a folder of audio, without any cloud: evaluate, learn from the errors, evaluate again."""

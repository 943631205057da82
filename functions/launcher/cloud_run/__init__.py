"""Trainers as jobs with a GPU on Cloud Run."""

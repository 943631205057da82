"""Trainers as jobs with a GPU on Cloud Run.

`launcher` is the port's implementation, over the few calls of `api`; `job` and `outcomes` are pure. Imports the launcher's `trainers` and
`problems`, nothing else of it.
"""

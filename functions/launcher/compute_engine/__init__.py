"""Trainers as VMs with a GPU on Compute Engine.

`launcher` is the port's implementation, over the few calls of `api`; `instance`, `cloud_init`, `walk` and `obstacles` are pure. Google's
client is loaded at the first call. Imports the launcher's `trainers` and `problems`, nothing else of it.
"""

"""Trainers as VMs with a GPU on Compute Engine."""

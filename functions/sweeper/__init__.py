"""Every minute: carries on what stands still."""

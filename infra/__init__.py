"""Where Retune runs: Terraform for Google Cloud, `local` for one laptop, and the `retune` command line."""

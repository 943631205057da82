terraform {
  required_version = ">= 1.11" # for `override_during` in tests

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.50, < 8.0"
    }
    archive = {
      source  = "hashicorp/archive"
      version = "~> 2.7"
    }
  }

  # Where the state lies is told at `terraform init -backend-config=...`; infra/bootstrap makes the bucket.
  backend "gcs" {}
}

provider "google" {
  project = var.project_id
  region  = var.region

  default_labels = { app = "retune", environment = var.environment }
}

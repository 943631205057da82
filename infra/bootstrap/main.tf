# Makes the bucket of Terraform's own state, once for a project. Its own state stays beside it: `terraform.tfstate`, not committed;
# lost, it is made again by `terraform import google_storage_bucket.state PROJECT-retune-terraform`.

terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.50, < 8.0"
    }
  }
}

variable "project_id" {
  description = "Google Cloud project."
  type        = string
}

variable "region" {
  description = "Region of the bucket."
  type        = string
}

provider "google" {
  project = var.project_id
  region  = var.region
}

# Without these two Terraform can turn on no other service.
resource "google_project_service" "this" {
  for_each = toset(["cloudresourcemanager.googleapis.com", "serviceusage.googleapis.com", "storage.googleapis.com"])

  service            = each.key
  disable_on_destroy = false
}

resource "google_storage_bucket" "state" {
  # checkov:skip=CKV_GCP_62: usage logs name no account. Data Access audit logs do, and are the project's to turn on: docs/guides/deploy.md
  name     = "${var.project_id}-retune-terraform"
  location = var.region

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true # a state that was written wrongly is taken back
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      num_newer_versions = 30
      with_state         = "ARCHIVED"
    }
  }

  lifecycle {
    prevent_destroy = true
  }

  depends_on = [google_project_service.this]
}

output "init" {
  description = "What to type next, in the repository's root."
  value       = "terraform -chdir=infra init -backend-config=bucket=${google_storage_bucket.state.name} -backend-config=prefix=prod"
}

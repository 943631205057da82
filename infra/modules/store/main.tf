# The one bucket, a managed folder for each top folder, and who may do what in each.

resource "google_storage_bucket" "this" {
  # checkov:skip=CKV_GCP_62: usage logs name no account. Data Access audit logs do, and are the project's to turn on: docs/guides/deploy.md
  name          = var.name
  location      = var.location
  force_destroy = var.deletable

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }

  soft_delete_policy {
    retention_duration_seconds = 604800 # 7 days to undo a deletion; then what was forgotten is gone
  }

  dynamic "encryption" {
    for_each = var.kms_key == "" ? [] : [var.kms_key]
    content {
      default_kms_key_name = encryption.value
    }
  }

  # Segments and checkpoints are replaced and deleted all day: their old versions are of no use to anybody.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 1
      matches_prefix             = ["ledger/", "runs/"]
      with_state                 = "ARCHIVED"
    }
  }

  # The alias and its audit: a year to find out who moved what.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 365
      matches_prefix             = ["registry/"]
      with_state                 = "ARCHIVED"
    }
  }

  # All else: long enough to undo a mistake, short enough that a forgotten person's words go.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 7
      matches_prefix             = [for folder in setsubtract(var.folders, ["ledger", "registry", "runs"]) : "${folder}/"]
      with_state                 = "ARCHIVED"
    }
  }

  # A run is written while its cycle runs; the verdict keeps what must stay.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = 30
      matches_prefix = ["runs/"]
      with_state     = "LIVE"
    }
  }
}

resource "google_storage_managed_folder" "this" {
  for_each = var.folders

  bucket        = google_storage_bucket.this.name
  name          = "${each.key}/"
  force_destroy = true # removes the grants' anchor and leaves the objects: the bucket itself refuses to go while it holds any
}

locals {
  # One custom role for each set of permissions that the table uses, and no permission beside those.
  sets  = toset(flatten([for folders in values(var.access) : [for verbs in values(folders) : join("_", sort(verbs))]]))
  roles = { for set in local.sets : set => [for verb in split("_", set) : "storage.objects.${verb}"] }

  grants = merge(flatten([
    for principal, folders in var.access : [
      for folder, verbs in folders : {
        for name, member in var.members[principal] : "${name}/${folder}" => {
          folder = folder
          member = member
          set    = join("_", sort(verbs))
        }
      }
    ]
  ])...)
}

resource "google_project_iam_custom_role" "this" {
  for_each = local.roles

  project     = var.project_id
  role_id     = "${var.custom_role_stem}_objects_${each.key}"
  title       = "Retune objects: ${replace(each.key, "_", ", ")}"
  description = "Granted on single top folders of the bucket alone."
  permissions = each.value
}

resource "google_storage_managed_folder_iam_member" "this" {
  for_each = local.grants

  bucket         = google_storage_bucket.this.name
  managed_folder = google_storage_managed_folder.this[each.value.folder].name
  role           = "projects/${var.project_id}/roles/${google_project_iam_custom_role.this[each.value.set].role_id}"
  member         = each.value.member
}

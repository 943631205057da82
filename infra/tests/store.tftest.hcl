mock_provider "google" {}

variables {
  project_id       = "retune-example"
  name             = "retune-example-retune-prod"
  location         = "europe-west4"
  folders          = ["ledger", "registry", "runs", "cycles", "source"]
  access           = { deployer = { registry = ["get", "list", "create", "delete"] }, reader = { registry = ["list", "get"] } }
  members          = { deployer = { deployer = "serviceAccount:d@x" }, reader = { "user:a" = "user:a", "user:b" = "user:b" } }
  custom_role_stem = "retune"
  kms_key          = ""
  deletable        = false
}

run "bucket" {
  command = apply

  module {
    source = "./modules/store"
  }

  assert {
    condition     = google_storage_bucket.this.uniform_bucket_level_access
    error_message = "Bucket: expected uniform access, without lists on single objects."
  }
  assert {
    condition     = google_storage_bucket.this.public_access_prevention == "enforced"
    error_message = "Bucket: expected that it can never be public."
  }
  assert {
    condition     = google_storage_bucket.this.versioning[0].enabled
    error_message = "Bucket: expected versions."
  }
  assert {
    condition     = google_storage_bucket.this.soft_delete_policy[0].retention_duration_seconds == 604800
    error_message = "Bucket: expected seven days to undo a deletion."
  }
  assert {
    condition     = google_storage_bucket.this.force_destroy == false
    error_message = "Bucket: expected a destroy to leave the registry unless told twice."
  }
  assert {
    condition = toset([
      for rule in google_storage_bucket.this.lifecycle_rule : one(rule.condition).days_since_noncurrent_time
      if contains(one(rule.condition).matches_prefix, "ledger/") && contains(one(rule.condition).matches_prefix, "runs/")
    ]) == toset([1])
    error_message = "Lifecycle: expected old versions of ledger and runs to go after a day."
  }
  assert {
    condition     = one([for rule in google_storage_bucket.this.lifecycle_rule : one(rule.condition).days_since_noncurrent_time if contains(one(rule.condition).matches_prefix, "registry/")]) == 365
    error_message = "Lifecycle: expected old versions of the registry to stay a year."
  }
  assert {
    condition = [
      for rule in google_storage_bucket.this.lifecycle_rule : { folders = join(" ", one(rule.condition).matches_prefix), days = one(rule.condition).age }
      if one(rule.condition).with_state != "ARCHIVED"
    ] == [{ folders = "runs/", days = 30 }]
    error_message = "Lifecycle: expected nothing that is current to go but runs of 30 days."
  }
  assert {
    condition     = one([for rule in google_storage_bucket.this.lifecycle_rule : one(rule.condition).days_since_noncurrent_time if contains(one(rule.condition).matches_prefix, "cycles/")]) <= 31
    error_message = "Lifecycle: expected old versions that may hold a forgotten person's words to go within a month."
  }
  assert {
    condition     = toset([for folder in google_storage_managed_folder.this : folder.name]) == toset(["cycles/", "ledger/", "registry/", "runs/", "source/"])
    error_message = "Folders: expected a managed folder for each top folder."
  }
  assert {
    condition     = alltrue([for role in google_project_iam_custom_role.this : alltrue([for permission in role.permissions : startswith(permission, "storage.objects.")])])
    error_message = "Roles: expected permissions on objects and on nothing else."
  }
  assert {
    condition     = alltrue([for role in google_project_iam_custom_role.this : !contains(role.permissions, "storage.objects.setIamPolicy") && !contains(role.permissions, "storage.objects.update")])
    error_message = "Roles: expected nobody to change who may read, or the metadata of what was written."
  }
  assert {
    condition     = output.matrix["deployer/registry"] == tolist(["create", "delete", "get", "list"]) && output.matrix["user:a/registry"] == tolist(["get", "list"]) && length(output.matrix) == 3
    error_message = "Grants: expected those of the table, for each member, on the folder alone."
  }
  assert {
    condition     = alltrue([for grant in google_storage_managed_folder_iam_member.this : startswith(grant.member, "serviceAccount:") || startswith(grant.member, "user:")])
    error_message = "Grants: expected nobody public."
  }
}

run "with_a_customers_key" {
  command = plan

  module {
    source = "./modules/store"
  }

  variables {
    kms_key   = "projects/keys/locations/europe-west4/keyRings/retune/cryptoKeys/retune"
    deletable = true
  }

  assert {
    condition     = one(google_storage_bucket.this.encryption[*].default_kms_key_name) == var.kms_key
    error_message = "Bucket: expected the customer's key."
  }
  assert {
    condition     = google_storage_bucket.this.force_destroy
    error_message = "Bucket: expected a destroy to delete it once it was told to."
  }
}

run "refuses_an_unknown_verb" {
  command         = plan
  expect_failures = [var.access]

  module {
    source = "./modules/store"
  }

  variables {
    access = { deployer = { registry = ["setIamPolicy"] } }
  }
}

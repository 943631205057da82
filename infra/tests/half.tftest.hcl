# An apply that ended half-way is applied again, and the second makes the rest.

mock_provider "google" {}
mock_provider "archive" {}

variables {
  project_id = "retune-example"
  region     = "europe-west4"
}

run "half" {
  command = apply

  plan_options {
    target = [google_project_service.this, module.store.google_storage_bucket.this, module.function["collector"].google_service_account.this, google_service_account.build]
  }
}

run "the_rest" {
  command = plan

  assert {
    condition     = length(module.topic) == 7 && length(output.access) > 0 && output.bucket == run.half.bucket
    error_message = "Apply: expected a second one to make what the first had not, and to leave what it had."
  }
}

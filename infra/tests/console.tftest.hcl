# With people named who may look, there is a console; it reads, IAP alone calls it, and nothing else changes.

mock_provider "google" {}
mock_provider "archive" {}

variables {
  project_id      = "retune-example"
  region          = "europe-west4"
  audio_buckets   = ["calls"]
  console_viewers = ["group:ml@example.org"]
}

run "console" {
  command = plan

  assert {
    condition     = alltrue([for cell, verbs in module.store.matrix : toset(verbs) == toset(["get", "list"]) if startswith(cell, "dashboard/")])
    error_message = "Console: expected an account that may only read."
  }
  assert {
    condition     = !contains(keys(module.store.matrix), "dashboard/source")
    error_message = "Console: expected nothing of the functions' sources."
  }
  assert {
    condition     = alltrue([for topic in keys(local.topic_publishers) : !contains(keys(local.topic_publishers[topic]), "dashboard")])
    error_message = "Console: expected it to publish nothing."
  }
  assert {
    condition     = [for viewer in google_iap_web_cloud_run_service_iam_member.viewer : "${viewer.role} ${viewer.member}"] == ["roles/iap.httpsResourceAccessor group:ml@example.org"]
    error_message = "Console: expected those who are named, and nobody else, to pass IAP."
  }
  assert {
    condition     = try(google_storage_bucket_iam_member.audio["calls/dashboard"].role, "none") == "roles/storage.objectViewer"
    error_message = "Console: expected it to play the calls' audio."
  }
  assert {
    condition     = [for grant in google_project_iam_member.metrics_reader : grant.role] == ["roles/monitoring.viewer"]
    error_message = "Console: expected it to read how many dead letters wait, and nothing else of the project."
  }
  assert {
    condition     = contains(keys(google_project_service.this), "iap.googleapis.com")
    error_message = "Console: expected the API of IAP."
  }
}

run "no_console" {
  command = plan

  variables {
    console_viewers = []
  }

  assert {
    condition     = !contains(keys(local.functions), "dashboard") && length(google_iap_web_cloud_run_service_iam_member.viewer) == 0 && length(google_project_iam_member.metrics_reader) == 0
    error_message = "Console: expected none where nobody is named."
  }
}

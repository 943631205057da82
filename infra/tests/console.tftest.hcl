# With people named who may look, there is a console; it reads, IAP alone calls it, and nothing else changes. With operators it also publishes
# on three topics.

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

run "operators" {
  command = plan

  variables {
    console_operators = ["user:Ana@example.org", "user:bob@example.org"]
  }

  assert {
    condition     = toset([for topic, publishers in local.topic_publishers : topic if contains(keys(publishers), "dashboard")]) == toset(["finetune-triggers", "model-commands", "stt-errors"])
    error_message = "Console with operators: expected it to publish commands and corrections, and on no other topic."
  }
  assert {
    condition     = alltrue([for cell, verbs in module.store.matrix : toset(verbs) == toset(["get", "list"]) if startswith(cell, "dashboard/")])
    error_message = "Console with operators: expected an account that writes no object all the same."
  }
  assert {
    condition     = local.console["dashboard"].environment.RETUNE_CONSOLE_OPERATORS == "Ana@example.org,bob@example.org"
    error_message = "Console with operators: expected it to know their addresses."
  }
  assert {
    condition     = toset([for viewer in google_iap_web_cloud_run_service_iam_member.viewer : viewer.member]) == toset(["group:ml@example.org", "user:Ana@example.org", "user:bob@example.org"])
    error_message = "Console with operators: expected IAP to let viewers and operators in, and nobody else."
  }
}

run "operators_alone" {
  command = plan

  variables {
    console_viewers   = []
    console_operators = ["user:ana@example.org"]
  }

  assert {
    condition     = contains(keys(local.functions), "dashboard") && [for viewer in google_iap_web_cloud_run_service_iam_member.viewer : viewer.member] == ["user:ana@example.org"]
    error_message = "Console: expected one where only operators are named, for them alone."
  }
  assert {
    condition     = contains(keys(google_project_service.this), "iap.googleapis.com")
    error_message = "Console of operators alone: expected the API of IAP."
  }
}

run "a_group_of_operators" {
  command = plan

  variables {
    console_operators = ["group:ml@example.org"]
  }

  expect_failures = [var.console_operators]
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

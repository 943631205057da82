# With traces on, everybody who works for a cycle sends spans; without (default.tftest.hcl) nobody may, and no function is told where.

mock_provider "google" {}

mock_provider "archive" {}

variables {
  project_id      = "retune-example"
  region          = "europe-west4"
  traces          = true
  console_viewers = ["user:ana@example.com"]
}

run "traces" {
  command = plan

  assert {
    condition     = toset(keys(google_project_iam_member.traces)) == toset(["collector", "deployer", "launcher", "sweeper", "trainer", "validator"])
    error_message = "Traces: expected every function that works for a cycle and the trainer to send spans, and the console not."
  }
  assert {
    condition     = alltrue([for grant in google_project_iam_member.traces : grant.role == "roles/telemetry.tracesWriter"])
    error_message = "Traces: expected the right to write spans, and no right to read any."
  }
  assert {
    condition     = google_project_iam_member.traces["trainer"].member == "serviceAccount:retune-trainer@retune-example.iam.gserviceaccount.com"
    error_message = "Trainer: expected its own account to send its spans."
  }
  assert {
    condition     = alltrue([for name, function in module.function : lookup(function.environment, "OTEL_EXPORTER_OTLP_ENDPOINT", "") == "https://telemetry.googleapis.com" if name != "dashboard"])
    error_message = "Functions: expected each to be told where its spans go."
  }
  assert {
    condition     = !contains(keys(module.function["dashboard"].environment), "OTEL_EXPORTER_OTLP_ENDPOINT")
    error_message = "Console: expected it to be told of no receiver of spans."
  }
  assert {
    condition     = contains(keys(google_project_service.this), "telemetry.googleapis.com") && contains(keys(google_project_service.this), "cloudtrace.googleapis.com")
    error_message = "Services: expected the API that takes spans, and the one that shows them."
  }
}

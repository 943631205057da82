# Traces, off unless asked for: whoever works for a cycle tells its spans to Google's Telemetry API, and may do nothing else with them.
locals {
  # The console shows what is kept, and works for no cycle.
  traced = var.traces ? setunion(setsubtract(keys(local.functions), ["dashboard"]), ["trainer"]) : toset([])

  trace_environment = { for name in local.traced : name => { OTEL_EXPORTER_OTLP_ENDPOINT = "https://telemetry.googleapis.com" } }
}

resource "google_project_iam_member" "traces" {
  for_each = local.traced

  project = var.project_id
  role    = "roles/telemetry.tracesWriter"
  member  = local.accounts[each.key]
}

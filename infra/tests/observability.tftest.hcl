mock_provider "google" {}

variables {
  environment        = "prod"
  project_number     = "123456789012"
  emails             = ["ana@example.org"]
  dead_subscriptions = ["a-dead", "b-dead"]
  billing_account    = "012345-6789AB-CDEF01"
  monthly_budget     = 200
}

run "observability" {
  command = apply

  module {
    source = "./modules/observability"
  }

  assert {
    condition     = toset(keys(google_monitoring_alert_policy.log)) == toset(["cycle_failed", "cycle_stuck", "rolled_back", "over_budget"])
    error_message = "Alerts: expected failed cycle, stuck cycle, rollback and budget."
  }
  assert {
    condition     = strcontains(google_monitoring_alert_policy.dead_letters.conditions[0].condition_threshold[0].filter, "a-dead|b-dead") && google_monitoring_alert_policy.dead_letters.conditions[0].condition_threshold[0].threshold_value == 0
    error_message = "Alerts: expected the first dead letter of any subscription to be told."
  }
  assert {
    condition     = google_monitoring_alert_policy.silent.conditions[0].condition_absent[0].duration == "900s"
    error_message = "Alerts: expected a silent sweeper to be told."
  }
  assert {
    condition     = alltrue([for policy in concat(values(google_monitoring_alert_policy.log), [google_monitoring_alert_policy.dead_letters, google_monitoring_alert_policy.silent]) : length(policy.notification_channels) == 1 && length(policy.documentation[0].content) > 20])
    error_message = "Alerts: expected every one to reach people and to say what to do."
  }
  assert {
    condition     = google_billing_budget.this[0].amount[0].specified_amount[0].units == "200" && google_billing_budget.this[0].budget_filter[0].projects == toset(["projects/123456789012"])
    error_message = "Budget: expected the amount, for this project alone."
  }
  assert {
    condition     = length(jsondecode(google_monitoring_dashboard.this.dashboard_json).mosaicLayout.tiles) >= 10
    error_message = "Dashboard: expected the metrics, queues, requests and trainers."
  }
}

run "without_billing_account" {
  command = plan

  module {
    source = "./modules/observability"
  }

  variables {
    billing_account = ""
    emails          = []
  }

  assert {
    condition     = length(google_billing_budget.this) == 0
    error_message = "Budget: expected none without a billing account."
  }
}

# What people are told, and where they look.

locals {
  # Lines of the functions' logs, by the fields that they carry.
  log_metrics = {
    cycle_failed = {
      title  = "Newest cycle has failed"
      filter = "jsonPayload.function=\"sweeper\" AND jsonPayload.status=\"failed\""
    }
    cycle_stuck = {
      title  = "Cycle has stood still for six hours"
      filter = "jsonPayload.function=\"sweeper\" AND jsonPayload.stood_s>=21600 AND jsonPayload.status=(\"preparing\" OR \"waiting_for_capacity\" OR \"training\" OR \"interrupted\" OR \"validating\")"
    }
    rolled_back = {
      title  = "Production was rolled back"
      filter = "jsonPayload.function=\"deployer\" AND jsonPayload.message=~\"^rollback v\""
    }
    over_budget = {
      title  = "Cycle declined or stopped: budget of GPU-hours or money"
      filter = "jsonPayload.function=(\"launcher\" OR \"sweeper\") AND jsonPayload.message=~\"(declined|stopped): .*budget of \""
    }
    swept = {
      title  = "The sweeper looked after everything"
      filter = "jsonPayload.function=\"sweeper\" AND severity<\"ERROR\""
    }
    quarantined = {
      title  = "Malformed message quarantined"
      filter = "jsonPayload.message=\"quarantined: malformed\""
    }
  }

  # Metric -> what a person does about it.
  log_alerts = {
    cycle_failed = "`retune status` says why; docs/guides/operations.md what to do."
    cycle_stuck  = "`retune status` shows where it stands. No GPU: see the launcher's log for the zones it tried."
    rolled_back  = "Production serves the version before. `retune explain VERSION` tells every move of a version and what it rested on."
    over_budget  = "`retune status` says what was declined or stopped, `retune explain` what was spent. Raise policy.budget, or wait for the window to free enough."
  }

  source = "resource.type=\"cloud_run_revision\" AND "
}

resource "google_logging_metric" "this" {
  for_each = local.log_metrics

  name        = "retune/${each.key}"
  description = each.value.title
  filter      = "${local.source}${each.value.filter}"

  metric_descriptor {
    metric_kind  = "DELTA"
    value_type   = "INT64"
    display_name = each.value.title
  }
}

resource "google_monitoring_notification_channel" "email" {
  for_each = var.emails

  display_name = "Retune ${each.key}"
  type         = "email"
  labels       = { email_address = each.key }
}

locals {
  channels = [for channel in google_monitoring_notification_channel.email : channel.id]
}

resource "google_monitoring_alert_policy" "log" {
  for_each = local.log_alerts

  display_name          = "Retune: ${local.log_metrics[each.key].title}"
  combiner              = "OR"
  severity              = each.key == "rolled_back" ? "CRITICAL" : "WARNING"
  notification_channels = local.channels

  conditions {
    display_name = local.log_metrics[each.key].title

    condition_threshold {
      filter          = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.this[each.key].name}\" AND resource.type=\"cloud_run_revision\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_SUM"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content = each.value
  }
}

resource "google_monitoring_alert_policy" "dead_letters" {
  display_name          = "Retune: dead letters"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels

  conditions {
    display_name = "A dead letter waits"

    condition_threshold {
      filter          = "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" AND resource.type=\"pubsub_subscription\" AND resource.label.subscription_id=monitoring.regex.full_match(\"${join("|", var.dead_subscriptions)}\")"
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_MAX"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content = "`retune dlq list` shows what was refused; why, the function's log says. `retune dlq replay` publishes it again once the cause is gone."
  }
}

# Whoever watches must be watched: without the sweeper nothing is carried on, and no cycle is ever called stuck.
resource "google_monitoring_alert_policy" "silent" {
  display_name          = "Retune: the sweeper is silent"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels

  conditions {
    display_name = "No sweep for fifteen minutes"

    condition_absent {
      filter   = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.this["swept"].name}\" AND resource.type=\"cloud_run_revision\""
      duration = "900s"

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_SUM"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content = "See the sweeper's log and the scheduler's job retune-tick."
  }
}

resource "google_billing_budget" "this" {
  count = var.billing_account == "" ? 0 : 1

  billing_account = var.billing_account
  display_name    = "Retune ${var.environment}"

  budget_filter {
    projects = ["projects/${var.project_number}"]
  }

  amount {
    specified_amount {
      units = tostring(var.monthly_budget)
    }
  }

  dynamic "threshold_rules" {
    for_each = toset([0.5, 0.9, 1.0])
    content {
      threshold_percent = threshold_rules.value
    }
  }

  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }

  all_updates_rule {
    monitoring_notification_channels = local.channels
    disable_default_iam_recipients   = false
  }
}

locals {
  charts = concat(
    [for name, metric in local.log_metrics : { title = metric.title, filter = "metric.type=\"logging.googleapis.com/user/retune/${name}\"", aligner = "ALIGN_SUM" }],
    [
      { title = "Reports published", filter = "metric.type=\"pubsub.googleapis.com/topic/send_message_operation_count\" resource.type=\"pubsub_topic\"", aligner = "ALIGN_RATE" },
      { title = "Age of the oldest waiting message", filter = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" resource.type=\"pubsub_subscription\"", aligner = "ALIGN_MAX" },
      { title = "Dead letters", filter = "metric.type=\"pubsub.googleapis.com/subscription/dead_letter_message_count\" resource.type=\"pubsub_subscription\"", aligner = "ALIGN_SUM" },
      { title = "Time of requests", filter = "metric.type=\"run.googleapis.com/request_latencies\" resource.type=\"cloud_run_revision\"", aligner = "ALIGN_PERCENTILE_99" },
      { title = "Trainers at work", filter = "metric.type=\"compute.googleapis.com/instance/uptime\" resource.type=\"gce_instance\" metric.label.instance_name=starts_with(\"retune-trainer-\")", aligner = "ALIGN_RATE" },
    ],
  )
}

resource "google_monitoring_dashboard" "this" {
  dashboard_json = jsonencode({
    displayName = "Retune ${var.environment}"
    mosaicLayout = {
      columns = 12
      tiles = [
        for index, chart in local.charts : {
          xPos   = (index % 3) * 4
          yPos   = floor(index / 3) * 4
          width  = 4
          height = 4
          widget = {
            title = chart.title
            xyChart = {
              dataSets = [{
                plotType = "LINE"
                timeSeriesQuery = {
                  timeSeriesFilter = {
                    filter      = chart.filter
                    aggregation = { alignmentPeriod = "300s", perSeriesAligner = chart.aligner }
                  }
                }
              }]
            }
          }
        }
      ]
    }
  })
}

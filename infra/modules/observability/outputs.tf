output "dashboard" {
  description = "Full name of the dashboard in Cloud Monitoring."
  value       = google_monitoring_dashboard.this.id
}

output "alerts" {
  description = "What people are told of."
  value       = sort(concat([for policy in google_monitoring_alert_policy.log : policy.display_name], [google_monitoring_alert_policy.dead_letters.display_name, google_monitoring_alert_policy.silent.display_name]))
}

output "log_filters" {
  description = "Name of each log-based metric -> what it counts."
  value       = { for name, metric in google_logging_metric.this : name => metric.filter }
}

module "observability" {
  source = "./modules/observability"

  environment        = var.environment
  project_number     = data.google_project.this.number
  emails             = var.alert_emails
  dead_subscriptions = sort(flatten([for topic in module.topic : topic.dead_subscriptions]))
  billing_account    = var.billing_account
  monthly_budget     = var.monthly_budget

  depends_on = [google_project_service.this]
}

# How many dead letters wait, as Cloud Monitoring counts them: the console and `retune status` read metrics, and take no message.
resource "google_project_iam_member" "metrics_reader" {
  for_each = merge(
    { for name in keys(local.console) : name => local.accounts[name] },
    { for member in var.operators : member => member },
  )

  project = var.project_id
  role    = "roles/monitoring.viewer"
  member  = each.value
}

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

# The console: a function that people look at, off unless somebody is named who may. Behind IAP; its account reads and can do nothing else.
locals {
  console = length(var.console_viewers) == 0 ? {} : {
    dashboard = {
      description = "Shows people what goes on; changes nothing."
      reads       = []
      publishes   = []
      size        = { timeout_s = 60, memory = "1Gi", cpu = "1", concurrency = 20, max_instances = 2 }
      environment = { THREADS = "20" }
    }
  }

  console_access = length(var.console_viewers) == 0 ? {} : { dashboard = { for folder in local.readable : folder => local.read } }

  iap_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-iap.iam.gserviceaccount.com"
}

# IAP asks who somebody is; then it, and nobody else, calls the function.
resource "google_iap_web_cloud_run_service_iam_member" "viewer" {
  for_each = var.console_viewers

  location               = var.region
  cloud_run_service_name = module.function["dashboard"].name
  role                   = "roles/iap.httpsResourceAccessor"
  member                 = each.key
}

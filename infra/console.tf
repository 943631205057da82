# The console: a function that people look at, off unless somebody is named who may. Behind IAP; its account reads, and where operators are
# named it publishes what these ask for: on the three topics of people's commands and corrections, and nothing else.
locals {
  console_people = setunion(var.console_viewers, var.console_operators) # who acts must look first

  console = length(local.console_people) == 0 ? {} : {
    dashboard = {
      description = length(var.console_operators) == 0 ? "Shows people what goes on; changes nothing." : "Shows people what goes on, and takes operators' commands."
      reads       = []
      publishes   = length(var.console_operators) == 0 ? [] : ["finetune-triggers", "model-commands", "stt-errors"]
      size        = { timeout_s = 60, memory = "1Gi", cpu = "1", concurrency = 20, max_instances = 2 }
      environment = {
        THREADS                  = "20"
        RETUNE_CONSOLE_AUDIENCE  = "/projects/${data.google_project.this.number}/locations/${var.region}/services/dashboard" # of IAP's assertions
        RETUNE_CONSOLE_OPERATORS = join(",", sort([for member in var.console_operators : trimprefix(member, "user:")]))
      }
    }
  }

  console_access = length(local.console_people) == 0 ? {} : { dashboard = { for folder in local.readable : folder => local.read } }

  iap_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-iap.iam.gserviceaccount.com"
}

# IAP asks who somebody is; then it, and nobody else, calls the function.
resource "google_iap_web_cloud_run_service_iam_member" "viewer" {
  for_each = local.console_people

  location               = var.region
  cloud_run_service_name = module.function["dashboard"].name
  role                   = "roles/iap.httpsResourceAccessor"
  member                 = each.key
}

locals {
  services = toset([
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudfunctions.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "cloudscheduler.googleapis.com",
    "compute.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
  ])
}

resource "google_project_service" "this" {
  for_each = setunion(
    local.services,
    var.billing_account == "" ? [] : ["billingbudgets.googleapis.com"],
    var.kms_key == "" ? [] : ["cloudkms.googleapis.com"],
    length(local.console_people) == 0 ? [] : ["iap.googleapis.com"],
    var.traces ? ["cloudtrace.googleapis.com", "telemetry.googleapis.com"] : [],
  )

  service            = each.key
  disable_on_destroy = false # others in the project may use it
}

data "google_project" "this" {
  project_id = var.project_id
  depends_on = [google_project_service.this]
}

locals {
  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

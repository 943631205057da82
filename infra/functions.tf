locals {
  # What each function consists of: written by `make bundles` from its imports, held by a test.
  bundles = jsondecode(file("${path.module}/bundles.json"))

  function_environment = {
    RETUNE_BUCKET         = "gs://${module.store.bucket}"
    GOOGLE_CLOUD_PROJECT  = var.project_id
    RETUNE_AUDIO_PREFIXES = join(",", local.audio_prefixes)
    RETUNE_POLICY         = jsonencode(var.policy)
  }

  # Without any bucket of calls only audio that keepers brought into the corpora may be named.
  audio_prefixes = length(var.audio_buckets) == 0 ? ["gs://${module.store.bucket}/corpora/"] : [for name in sort(var.audio_buckets) : "gs://${name}/"]
}

module "function" {
  source   = "./modules/function"
  for_each = local.functions

  project_id  = var.project_id
  name        = each.key
  description = each.value.description
  region      = var.region
  sources     = { root = "${path.module}/..", paths = local.bundles[each.key].files }
  made = {
    "main.py"          = "from functions.${each.key}.main import entry\n\n__all__ = [\"entry\"]\n"
    "requirements.txt" = "${join("\n", local.bundles[each.key].requirements)}\n"
  }
  bucket        = module.store.bucket
  source_folder = module.store.source_folder
  build = {
    service_account = "projects/${var.project_id}/serviceAccounts/${local.build_email}"
    repository      = google_artifact_registry_repository.functions.id
    worker_pool     = try(var.perimeter.worker_pool, null)
  }
  size          = each.value.size
  environment   = merge(local.function_environment, each.value.environment, lookup(local.trace_environment, each.key, {}))
  secrets       = lookup(local.secrets, each.key, {})
  invoker       = each.key == "dashboard" ? local.iap_agent : "serviceAccount:${local.push_email}"
  ingress       = each.key == "dashboard" ? "ALLOW_ALL" : "ALLOW_INTERNAL_ONLY" # IAP lets people in from anywhere, and only them
  vpc_connector = try(var.perimeter.vpc_connector, null)
  kms_key       = local.usable_kms_key

  depends_on = [
    google_project_service.this,
    google_project_iam_member.build, # a first build without these fails
    google_artifact_registry_repository_iam_member.build,
  ]
}

# Builds functions and the trainer's image. Since 2024 new projects have no builder with any permission of its own.
resource "google_service_account" "build" {
  account_id   = "retune-build"
  display_name = "Retune build"
  description  = "Builds the functions and the trainer's image."
  depends_on   = [google_project_service.this]
}

resource "google_project_iam_member" "build" {
  for_each = {
    logs = { role = "roles/logging.logWriter", buckets = "" }
    # Sources are handed over in buckets that Cloud Functions and Cloud Build make: these, and no other bucket of the project.
    sources = { role = "roles/storage.objectViewer", buckets = "gcf-v2-sources-" }
    uploads = { role = "roles/storage.objectViewer", buckets = "${var.project_id}_cloudbuild" }
  }

  project = var.project_id
  role    = each.value.role
  member  = "serviceAccount:${local.build_email}"

  dynamic "condition" {
    for_each = each.value.buckets == "" ? [] : [each.value.buckets]
    content {
      title      = "Retune build ${each.key}"
      expression = "resource.name.startsWith(\"projects/_/buckets/${condition.value}\")"
    }
  }
}

resource "google_artifact_registry_repository" "functions" {
  repository_id = "retune-functions"
  location      = var.region
  format        = "DOCKER"
  description   = "Images of the functions, made by Cloud Build."
  kms_key_name  = local.usable_kms_key == "" ? null : local.usable_kms_key
  depends_on    = [google_project_service.this]
}

resource "google_artifact_registry_repository_iam_member" "build" {
  for_each = {
    functions = google_artifact_registry_repository.functions.repository_id
    trainer   = module.trainer.repository
  }

  location   = var.region
  repository = each.value
  role       = "roles/artifactregistry.writer"
  member     = "serviceAccount:${local.build_email}"
}

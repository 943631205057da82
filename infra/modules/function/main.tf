# One function: its account, its source by digest, the function, and one caller's permission to call it.

resource "google_service_account" "this" {
  account_id   = "retune-${var.name}"
  display_name = "Retune ${var.name}"
  description  = var.description
}

locals {
  # Written out, since it follows from the name: a plan then tells who is granted what.
  email = "${google_service_account.this.account_id}@${var.project_id}.iam.gserviceaccount.com"

  # The digest of what goes in, not of the zip: another zip tool must not redeploy the same code.
  digest = sha256(jsonencode(merge(var.made, { for file in var.sources.paths : file => filesha256("${var.sources.root}/${file}") })))
}

data "archive_file" "source" {
  type             = "zip"
  output_path      = "${path.root}/.bundles/${var.name}.zip"
  output_file_mode = "0644"

  dynamic "source" {
    for_each = var.made
    content {
      filename = source.key
      content  = source.value
    }
  }

  dynamic "source" {
    for_each = toset(var.sources.paths)
    content {
      filename = source.key
      content  = file("${var.sources.root}/${source.key}")
    }
  }
}

resource "google_storage_bucket_object" "source" {
  bucket = var.bucket
  name   = "${var.source_folder}${var.name}-${local.digest}.zip" # another digest is another object: that alone redeploys
  source = data.archive_file.source.output_path
}

resource "google_cloudfunctions2_function" "this" {
  name         = var.name
  location     = var.region
  description  = var.description
  kms_key_name = var.kms_key == "" ? null : var.kms_key

  build_config {
    runtime           = "python311"
    entry_point       = "entry"
    service_account   = var.build.service_account
    docker_repository = var.build.repository
    worker_pool       = var.build.worker_pool

    source {
      storage_source {
        bucket = var.bucket
        object = google_storage_bucket_object.source.name
      }
    }
  }

  service_config {
    service_account_email            = local.email
    timeout_seconds                  = var.size.timeout_s
    available_memory                 = var.size.memory
    available_cpu                    = var.size.cpu
    max_instance_request_concurrency = var.size.concurrency
    max_instance_count               = var.size.max_instances
    all_traffic_on_latest_revision   = true
    ingress_settings                 = var.ingress
    vpc_connector                    = var.vpc_connector
    vpc_connector_egress_settings    = var.vpc_connector == null ? null : "ALL_TRAFFIC"
    environment_variables            = var.environment

    dynamic "secret_environment_variables" {
      for_each = var.secrets
      content {
        key        = secret_environment_variables.key
        project_id = var.project_id
        secret     = secret_environment_variables.value
        version    = "latest"
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.reader] # an instance that may not read its secrets does not start
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each = var.secrets

  project   = var.project_id
  secret_id = each.value
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:${local.email}"
}

# The Cloud Run service behind a function of the 2nd generation has its name.
resource "google_cloud_run_service_iam_member" "invoker" {
  location = google_cloudfunctions2_function.this.location
  service  = google_cloudfunctions2_function.this.name
  role     = "roles/run.invoker"
  member   = var.invoker
}

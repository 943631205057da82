# With a key of the customer's, each service that encrypts with it must be allowed to.
locals {
  kms_agents = var.kms_key == "" ? {} : {
    artifactregistry = "gcp-sa-artifactregistry"
    functions        = "gcf-admin-robot"
    pubsub           = "gcp-sa-pubsub"
    run              = "serverless-robot-prod"
    secretmanager    = "gcp-sa-secretmanager"
  }

  # The key, known only when everybody may use it: whatever takes it from here waits for the grants.
  usable_kms_key = var.kms_key == "" ? "" : one(distinct([for grant in concat(values(google_kms_crypto_key_iam_member.agents), google_kms_crypto_key_iam_member.storage) : grant.crypto_key_id]))
}

resource "google_kms_crypto_key_iam_member" "agents" {
  for_each = local.kms_agents

  crypto_key_id = var.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:service-${data.google_project.this.number}@${each.value}.iam.gserviceaccount.com"
}

# Asking for Cloud Storage's agent makes it.
data "google_storage_project_service_account" "this" {
  count = var.kms_key == "" ? 0 : 1

  depends_on = [google_project_service.this]
}

resource "google_kms_crypto_key_iam_member" "storage" {
  count = var.kms_key == "" ? 0 : 1

  crypto_key_id = var.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = data.google_storage_project_service_account.this[0].member
}

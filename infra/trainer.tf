locals {
  # Nothing is asked at plan, so that the first one is complete. A zone without the machine only costs the launcher one question.
  letters    = contains(["us-east1", "europe-west1"], var.region) ? ["b", "c", "d"] : ["a", "b", "c"]
  every_zone = [for letter in local.letters : "${var.region}-${letter}"]

  # Each machine in each of its zones, in the order of the list: Spot everywhere before anything on demand.
  trainer_machines = flatten([
    for machine in var.trainer_machines : [
      for zone in coalescelist(machine.zones, local.every_zone) : { zone = zone, machine_type = machine.machine_type, provisioning = machine.provisioning }
    ]
  ])

  # For launcher and sweeper, which start machines by the same code.
  trainer_environment = {
    RETUNE_LAUNCHER                = var.trainer_launcher
    RETUNE_TRAINER_IMAGE           = var.trainer_image
    RETUNE_TRAINER_SERVICE_ACCOUNT = module.trainer.email
    RETUNE_TRAINER_NETWORK         = module.trainer.network
    RETUNE_TRAINER_SUBNETWORK      = module.trainer.subnetwork
    RETUNE_TRAINER_MACHINES        = jsonencode(local.trainer_machines)
  }
}

module "trainer" {
  source = "./modules/trainer"

  project_id       = var.project_id
  region           = var.region
  trainer_launcher = var.trainer_launcher
  nat              = var.nat
  kms_key          = local.usable_kms_key
  launchers        = { for name in ["launcher", "sweeper"] : name => "serviceAccount:${module.function[name].email}" }

  depends_on = [google_project_service.this]
}

# Whoever asks a language model reads its key: the trainer and nobody else.
resource "google_secret_manager_secret" "llm_key" {
  secret_id = "retune-llm-key"

  replication {
    user_managed {
      replicas {
        location = var.region

        dynamic "customer_managed_encryption" {
          for_each = local.usable_kms_key == "" ? [] : [local.usable_kms_key]
          content {
            kms_key_name = customer_managed_encryption.value
          }
        }
      }
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_secret_manager_secret_iam_member" "llm_key" {
  secret_id = google_secret_manager_secret.llm_key.id
  role      = "roles/secretmanager.secretAccessor"
  member    = local.accounts.trainer
}

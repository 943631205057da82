output "next_steps" {
  description = "What is still missing, with the command for each."
  value = concat(
    var.trainer_image != "" ? [] : [
      "Build the trainer's image and set trainer_image to the digest that is printed: gcloud builds submit --project ${var.project_id} --region ${var.region} --config trainer/cloudbuild.yaml --service-account projects/${var.project_id}/serviceAccounts/${local.build_email} --substitutions _REPOSITORY=${local.image_repository} .",
    ],
    length(var.audio_buckets) > 0 ? [] : ["Name the buckets of the calls' audio in audio_buckets: until then every report of a call is refused."],
    length(var.publishers) > 0 ? [] : ["Name production's account in publishers: until then nobody may report errors or read the registry."],
    length(var.operators) > 0 ? [] : ["Name people in operators: until then only owners of the project start and roll back."],
    length(var.keepers) > 0 ? [] : ["Name people in keepers: until then only owners of the project import a model, edit suites or forget a person."],
    length(var.alert_emails) > 0 ? [] : ["Name addresses in alert_emails: until then alerts are seen on the dashboard alone."],
    length(local.console_people) == 0 ? [] : ["Switch IAP on for the console, once: gcloud beta run services update dashboard --project ${var.project_id} --region ${var.region} --iap"],
    var.policy.gold == null ? [] : ["Give the language model's key, if not done yet: gcloud secrets versions add ${google_secret_manager_secret.llm_key.secret_id} --project ${var.project_id} --data-file=-"],
    ["Bring the first model, as a keeper who is an operator too: RETUNE_BUCKET=gs://${module.store.bucket} GOOGLE_CLOUD_PROJECT=${var.project_id} retune models import DIR_OR_HUB_ID --promote"],
  )
}

locals {
  image_repository = "${var.region}-docker.pkg.dev/${var.project_id}/${module.trainer.repository}"
}

output "bucket" {
  description = "Bucket with ledger, cycles, models and registry."
  value       = module.store.bucket
}

output "topics" {
  description = "Topic -> full name."
  value       = { for name, topic in module.topic : name => topic.id }
}

output "dashboard" {
  description = "Address of the charts and alerts in Cloud Monitoring."
  value       = "https://console.cloud.google.com/monitoring/dashboards/builder/${element(split("/", module.observability.dashboard), 3)}?project=${var.project_id}"
}

output "console" {
  description = "Address of the console; null = nobody is named in console_viewers or console_operators."
  value       = try(module.function["dashboard"].uri, null)
}

output "image_repository" {
  description = "Where the trainer's image goes."
  value       = local.image_repository
}

output "force_run" {
  description = "Starts a cycle now: it skips thresholds, cooldown and approval; nothing else."
  value       = "gcloud pubsub topics publish finetune-triggers --project ${var.project_id} --message='{\"force\": true}'"
}

output "roll_back" {
  description = "Withdraws the canary, else the stable version; the last good one before it serves."
  value       = "gcloud pubsub topics publish model-commands --project ${var.project_id} --message='{\"rollback\": true}'"
}

output "access" {
  description = "\"account/folder\" -> what it may do there."
  value       = module.store.matrix
}

output "environment" {
  description = "Variables for `retune` on an operator's machine."
  value       = merge(local.function_environment, local.trainer_environment)
}

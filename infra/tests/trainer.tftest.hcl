mock_provider "google" {}

variables {
  project_id       = "retune-example"
  region           = "europe-west4"
  trainer_launcher = "compute_engine"
  nat              = false
  launchers        = { launcher = "serviceAccount:launcher@x", sweeper = "serviceAccount:sweeper@x" }
  kms_key          = ""
}

run "trainer" {
  command = apply

  module {
    source = "./modules/trainer"
  }

  assert {
    condition     = google_compute_subnetwork.this.private_ip_google_access
    error_message = "Network: expected Google's services to be reached without a public address."
  }
  assert {
    condition     = length(google_compute_router.this) == 0 && length(google_compute_router_nat.this) == 0
    error_message = "Network: expected no way to the internet unless it is asked for."
  }
  assert {
    condition     = google_compute_firewall.no_way_in.direction == "INGRESS" && [for rule in google_compute_firewall.no_way_in.deny : rule.protocol] == ["all"] && google_compute_firewall.no_way_in.source_ranges == toset(["0.0.0.0/0"]) && google_compute_network.this.auto_create_subnetworks == false
    error_message = "Network: expected no way in."
  }
  assert {
    condition     = google_project_iam_custom_role.launcher.permissions == toset(["compute.disks.create", "compute.instances.create", "compute.instances.delete", "compute.instances.get", "compute.instances.list", "compute.instances.setLabels", "compute.instances.setMetadata", "compute.instances.setServiceAccount", "compute.machineTypes.get", "compute.zoneOperations.get"])
    error_message = "Launcher: expected just what starting, finding and ending a machine takes."
  }
  assert {
    condition     = google_project_iam_custom_role.subnetwork.permissions == toset(["compute.subnetworks.use"])
    error_message = "Launcher: expected machines without a public address."
  }
  assert {
    condition     = alltrue([for grant in google_project_iam_member.launcher : strcontains(grant.condition[0].expression, "startsWith(\"retune-trainer-\")")])
    error_message = "Launcher: expected it to touch trainers and no other machine."
  }
  assert {
    condition     = alltrue([for grant in google_service_account_iam_member.launcher : grant.service_account_id == google_service_account.this.name && grant.role == "roles/iam.serviceAccountUser"])
    error_message = "Launcher: expected machines to run as the trainer and as nobody else."
  }
  assert {
    condition     = google_project_iam_custom_role.self_delete.permissions == toset(["compute.instances.delete", "compute.instances.get"]) && strcontains(google_project_iam_member.self_delete.condition[0].expression, "retune-trainer-")
    error_message = "Trainer: expected it to end trainers and nothing else."
  }
  assert {
    condition     = toset(keys(google_project_iam_member.trainer)) == toset(["roles/logging.logWriter", "roles/monitoring.metricWriter"])
    error_message = "Trainer: expected logs and metrics as its only roles on the project."
  }
  assert {
    condition     = google_artifact_registry_repository_iam_member.puller.role == "roles/artifactregistry.reader" && google_artifact_registry_repository.this.docker_config[0].immutable_tags
    error_message = "Images: expected the trainer to pull them, and tags that never move."
  }
}

run "with_nat_on_cloud_run" {
  command = plan

  module {
    source = "./modules/trainer"
  }

  variables {
    nat              = true
    trainer_launcher = "cloud_run"
  }

  assert {
    condition     = length(google_compute_router_nat.this) == 1
    error_message = "Network: expected NAT where it is asked for."
  }
  assert {
    condition     = alltrue([for permission in google_project_iam_custom_role.launcher.permissions : startswith(permission, "run.")])
    error_message = "Launcher: expected no machine of Compute Engine where trainers are jobs."
  }
}

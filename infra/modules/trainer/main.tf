# Where trainers run: a network without a way in, their account, their images, and what the launchers may do.

resource "google_compute_network" "this" {
  name                    = "retune-trainer"
  description             = "Retune's trainers. Nothing reaches in; Google's services are reached privately."
  auto_create_subnetworks = false
}

resource "google_compute_subnetwork" "this" {
  name                     = "retune-trainer"
  region                   = var.region
  network                  = google_compute_network.this.id
  ip_cidr_range            = "10.10.0.0/24"
  private_ip_google_access = true # machines have no public address

  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
    metadata             = "EXCLUDE_ALL_METADATA"
  }
}

# Implied by every network; written down so that it is logged, and stays when somebody adds a rule.
resource "google_compute_firewall" "no_way_in" {
  name      = "retune-trainer-no-way-in"
  network   = google_compute_network.this.id
  direction = "INGRESS"
  priority  = 65000

  source_ranges = ["0.0.0.0/0"]

  deny {
    protocol = "all"
  }

  log_config {
    metadata = "EXCLUDE_ALL_METADATA"
  }
}

resource "google_compute_router" "this" {
  count = var.nat ? 1 : 0

  name    = "retune-trainer"
  region  = var.region
  network = google_compute_network.this.id
}

resource "google_compute_router_nat" "this" {
  count = var.nat ? 1 : 0

  name                               = "retune-trainer"
  region                             = var.region
  router                             = google_compute_router.this[0].name
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "ALL_SUBNETWORKS_ALL_IP_RANGES"

  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}

resource "google_artifact_registry_repository" "this" {
  repository_id = "retune-trainer"
  location      = var.region
  format        = "DOCKER"
  description   = "Images of the trainer, run by digest."
  kms_key_name  = var.kms_key == "" ? null : var.kms_key

  docker_config {
    immutable_tags = true
  }
}

resource "google_service_account" "this" {
  account_id   = "retune-trainer"
  display_name = "Retune trainer"
  description  = "The trainer on its machine."
}

resource "google_artifact_registry_repository_iam_member" "puller" {
  location   = var.region
  repository = google_artifact_registry_repository.this.name
  role       = "roles/artifactregistry.reader"
  member     = "serviceAccount:${local.email}"
}

resource "google_project_iam_member" "trainer" {
  for_each = toset(["roles/logging.logWriter", "roles/monitoring.metricWriter"])

  project = var.project_id
  role    = each.key
  member  = "serviceAccount:${local.email}"
}

locals {
  # Written out, since they follow from the names: a plan then tells who is granted what.
  email = "${google_service_account.this.account_id}@${var.project_id}.iam.gserviceaccount.com"
  role  = "projects/${var.project_id}/roles"

  # Only what is called retune-trainer-...: disks and operations have other types and names.
  own_machines = "resource.type != \"compute.googleapis.com/Instance\" || resource.name.extract(\"/instances/{name}\").startsWith(\"retune-trainer-\")"

  launcher_permissions = {
    compute_engine = [
      "compute.disks.create",
      "compute.instances.create",
      "compute.instances.delete",
      "compute.instances.get",
      "compute.instances.list",
      "compute.instances.setLabels",
      "compute.instances.setMetadata",
      "compute.instances.setServiceAccount",
      "compute.machineTypes.get",
      "compute.zoneOperations.get",
    ]
    cloud_run = [
      "run.executions.cancel",
      "run.jobs.create",
      "run.jobs.delete",
      "run.jobs.get",
      "run.jobs.list",
      "run.jobs.run",
      "run.operations.get",
    ]
  }
}

resource "google_project_iam_custom_role" "launcher" {
  project     = var.project_id
  role_id     = "retune_launcher"
  title       = "Retune launcher"
  description = "Starts, finds and ends trainers."
  permissions = local.launcher_permissions[var.trainer_launcher]
}

resource "google_project_iam_custom_role" "subnetwork" {
  project     = var.project_id
  role_id     = "retune_subnetwork"
  title       = "Retune subnetwork"
  description = "Puts trainers into their own subnetwork; never with a public address."
  permissions = ["compute.subnetworks.use"]
}

resource "google_project_iam_custom_role" "self_delete" {
  project     = var.project_id
  role_id     = "retune_self_delete"
  title       = "Retune trainer's end"
  description = "A trainer that has finished deletes its machine."
  permissions = ["compute.instances.delete", "compute.instances.get"]
}

resource "google_project_iam_member" "launcher" {
  for_each = var.launchers

  project = var.project_id
  role    = "${local.role}/${google_project_iam_custom_role.launcher.role_id}"
  member  = each.value

  dynamic "condition" {
    for_each = var.trainer_launcher == "compute_engine" ? [local.own_machines] : []
    content {
      title      = "Trainers alone"
      expression = condition.value
    }
  }
}

resource "google_compute_subnetwork_iam_member" "launcher" {
  for_each = var.launchers

  region     = var.region
  subnetwork = google_compute_subnetwork.this.name
  role       = "${local.role}/${google_project_iam_custom_role.subnetwork.role_id}"
  member     = each.value
}

# To start a machine that runs as the trainer's account, and as no other.
resource "google_service_account_iam_member" "launcher" {
  for_each = var.launchers

  service_account_id = google_service_account.this.name
  role               = "roles/iam.serviceAccountUser"
  member             = each.value
}

resource "google_project_iam_member" "self_delete" {
  project = var.project_id
  role    = "${local.role}/${google_project_iam_custom_role.self_delete.role_id}"
  member  = "serviceAccount:${local.email}"

  condition {
    title      = "Trainers alone"
    expression = local.own_machines
  }
}

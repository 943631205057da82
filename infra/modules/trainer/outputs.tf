output "email" {
  description = "Address of the trainer's account."
  value       = local.email
}

output "network" {
  description = "Full name of the network."
  value       = google_compute_network.this.id
}

output "subnetwork" {
  description = "Full name of the subnetwork."
  value       = google_compute_subnetwork.this.id
}

output "repository" {
  description = "Name of the repository of its images."
  value       = google_artifact_registry_repository.this.repository_id
}

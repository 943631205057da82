output "email" {
  description = "Address of its account."
  value       = local.email
}

output "uri" {
  description = "Address that Pub/Sub pushes to, and the audience of its tokens."
  value       = google_cloudfunctions2_function.this.service_config[0].uri
}

output "environment" {
  description = "Its environment variables."
  value       = var.environment
}

output "name" {
  description = "Its name, and that of the Cloud Run service behind it."
  value       = google_cloudfunctions2_function.this.name
}

output "email" {
  description = "Address of its account."
  value       = google_service_account.this.email
}

output "uri" {
  description = "Address that Pub/Sub pushes to, and the audience of its tokens."
  value       = google_cloudfunctions2_function.this.service_config[0].uri
}

output "account_id" {
  description = "First part of that address."
  value       = google_service_account.this.account_id
}

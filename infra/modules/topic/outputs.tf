output "id" {
  description = "Full name of the topic."
  value       = google_pubsub_topic.this.id
}

output "publishers" {
  description = "Names of those who publish to it."
  value       = sort(keys(google_pubsub_topic_iam_member.publisher))
}

output "subscriptions" {
  description = "Names of the functions' subscriptions."
  value       = sort([for subscription in google_pubsub_subscription.this : subscription.name])
}

output "dead_subscriptions" {
  description = "Names of the subscriptions to dead letters."
  value       = sort([for subscription in google_pubsub_subscription.dead : subscription.name])
}

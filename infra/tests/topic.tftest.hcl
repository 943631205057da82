mock_provider "google" {}

variables {
  name         = "training-events"
  region       = "europe-west4"
  publishers   = { trainer = "serviceAccount:t@x" }
  readers      = { launcher = { uri = "https://launcher.run.app", timeout_s = 540 }, validator = { uri = "https://validator.run.app", timeout_s = 300 } }
  operators    = ["user:ana@example.org"]
  push_account = "push@x"
  pubsub_agent = "serviceAccount:service-1@gcp-sa-pubsub.iam.gserviceaccount.com"
  kms_key      = ""
}

run "topic" {
  command = apply

  module {
    source = "./modules/topic"
  }

  assert {
    condition     = alltrue([for reader, subscription in google_pubsub_subscription.this : one(subscription.dead_letter_policy[*].dead_letter_topic) == google_pubsub_topic.dead[reader].id])
    error_message = "Subscription: expected every one to dead-letter, into a topic of its own."
  }
  assert {
    condition     = alltrue([for subscription in google_pubsub_subscription.this : one(subscription.dead_letter_policy[*].max_delivery_attempts) == 100])
    error_message = "Subscription: expected 100 attempts before a message is given up."
  }
  assert {
    condition     = alltrue([for reader, subscription in google_pubsub_subscription.this : subscription.ack_deadline_seconds > var.readers[reader].timeout_s && subscription.ack_deadline_seconds <= 600])
    error_message = "Subscription: expected an ack deadline above the function's time-out, and at most 600 s."
  }
  assert {
    condition     = alltrue([for subscription in google_pubsub_subscription.this : subscription.retry_policy[0].minimum_backoff == "10s" && subscription.retry_policy[0].maximum_backoff == "600s"])
    error_message = "Subscription: expected a back-off of 10 to 600 s."
  }
  assert {
    condition     = alltrue([for subscription in concat(values(google_pubsub_subscription.this), values(google_pubsub_subscription.dead)) : subscription.message_retention_duration == "2678400s"])
    error_message = "Subscription: expected messages to be kept for 31 days."
  }
  assert {
    condition     = alltrue([for reader, subscription in google_pubsub_subscription.this : subscription.push_config[0].push_endpoint == var.readers[reader].uri])
    error_message = "Push: expected each subscription to push to its own function."
  }
  assert {
    condition     = alltrue([for reader, subscription in google_pubsub_subscription.this : subscription.push_config[0].oidc_token[0].service_account_email == "push@x" && subscription.push_config[0].oidc_token[0].audience == var.readers[reader].uri])
    error_message = "Push: expected tokens of the push account for the one function."
  }
  assert {
    condition     = alltrue([for subscription in google_pubsub_subscription.this : subscription.expiration_policy[0].ttl == ""])
    error_message = "Subscription: expected it never to expire."
  }
  assert {
    condition     = alltrue([for reader, subscription in google_pubsub_subscription.dead : subscription.expiration_policy[0].ttl == "" && subscription.topic == google_pubsub_topic.dead[reader].id])
    error_message = "Dead letters: expected a subscription that never expires."
  }
  assert {
    condition     = alltrue([for grant in google_pubsub_topic_iam_member.dead_publisher : grant.member == var.pubsub_agent && grant.role == "roles/pubsub.publisher"]) && length(google_pubsub_topic_iam_member.dead_publisher) == 2
    error_message = "Dead letters: expected Pub/Sub itself to be allowed to give them."
  }
  assert {
    condition     = alltrue([for reader, grant in google_pubsub_subscription_iam_member.dead_mover : grant.member == var.pubsub_agent && grant.role == "roles/pubsub.subscriber" && grant.subscription == google_pubsub_subscription.this[reader].name])
    error_message = "Dead letters: expected Pub/Sub itself to be allowed to take them."
  }
  assert {
    condition     = toset([for grant in google_pubsub_subscription_iam_member.dead_reader : grant.subscription]) == toset(["launcher-training-events-dead", "validator-training-events-dead"])
    error_message = "Dead letters: expected operators to read them, and no living subscription."
  }
  assert {
    condition     = google_pubsub_topic.this.message_retention_duration == "2678400s"
    error_message = "Topic: expected retention of 31 days."
  }
  assert {
    condition     = alltrue([for topic in concat([google_pubsub_topic.this], values(google_pubsub_topic.dead)) : toset(topic.message_storage_policy[0].allowed_persistence_regions) == toset(["europe-west4"])])
    error_message = "Topic: expected messages to stay in the region."
  }
  assert {
    condition     = toset([for grant in google_pubsub_topic_iam_member.publisher : grant.role]) == toset(["roles/pubsub.publisher"])
    error_message = "Topic: expected publishers to publish and nothing else."
  }
}

run "refuses_a_reader_that_no_deadline_outlasts" {
  command         = plan
  expect_failures = [google_pubsub_subscription.this]

  module {
    source = "./modules/topic"
  }

  variables {
    readers = { slow = { uri = "https://slow.run.app", timeout_s = 541 } }
  }
}

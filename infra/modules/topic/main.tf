# One topic: who publishes to it, and for each reader a push subscription with its dead letters.

resource "google_pubsub_topic" "this" {
  name                       = var.name
  kms_key_name               = var.kms_key == "" ? null : var.kms_key
  message_retention_duration = local.month

  message_storage_policy {
    allowed_persistence_regions = [var.region] # transcripts do not leave the region
  }
}

locals {
  month = "2678400s" # 31 days, the most that Pub/Sub keeps
}

resource "google_pubsub_topic_iam_member" "publisher" {
  for_each = var.publishers

  topic  = google_pubsub_topic.this.name
  role   = "roles/pubsub.publisher"
  member = each.value
}

resource "google_pubsub_subscription" "this" {
  for_each = var.readers

  name                       = "${each.key}-${var.name}"
  topic                      = google_pubsub_topic.this.id
  ack_deadline_seconds       = each.value.timeout_s + 60 # a handler at its time-out must not see its own message again
  message_retention_duration = local.month

  push_config {
    push_endpoint = each.value.uri

    oidc_token {
      service_account_email = var.push_account
      audience              = each.value.uri
    }
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead[each.key].id
    max_delivery_attempts = 100 # with the back-off above most of a day: an outage must not dead-letter good events
  }

  expiration_policy {
    ttl = "" # never: a month without errors is no reason to stop listening
  }

  # Without these a message that was refused 100 times would be redelivered for ever.
  depends_on = [google_pubsub_topic_iam_member.dead_publisher]

  lifecycle {
    precondition {
      condition     = each.value.timeout_s + 60 <= 600
      error_message = "readers: expected a time-out of at most 540 s, found ${each.value.timeout_s}: Pub/Sub's ack deadline ends at 600 s."
    }
  }
}

resource "google_pubsub_topic" "dead" {
  for_each = var.readers

  name                       = "${each.key}-${var.name}-dead"
  kms_key_name               = var.kms_key == "" ? null : var.kms_key
  message_retention_duration = local.month

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }
}

# A dead-letter topic without a subscription loses what it is given.
resource "google_pubsub_subscription" "dead" {
  for_each = var.readers

  name                       = "${each.key}-${var.name}-dead"
  topic                      = google_pubsub_topic.dead[each.key].id
  ack_deadline_seconds       = 60
  message_retention_duration = local.month

  expiration_policy {
    ttl = "" # never: it is looked at when something has gone wrong, which may be once a year
  }
}

# Pub/Sub itself moves dead letters: its agent takes from the one and gives to the other.
resource "google_pubsub_topic_iam_member" "dead_publisher" {
  for_each = var.readers

  topic  = google_pubsub_topic.dead[each.key].name
  role   = "roles/pubsub.publisher"
  member = var.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "dead_mover" {
  for_each = var.readers

  subscription = google_pubsub_subscription.this[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = var.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "dead_reader" {
  for_each = merge([for reader in keys(var.readers) : { for member in var.operators : "${reader}/${member}" => { reader = reader, member = member } }]...)

  subscription = google_pubsub_subscription.dead[each.value.reader].name
  role         = "roles/pubsub.subscriber"
  member       = each.value.member
}

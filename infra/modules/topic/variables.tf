variable "name" {
  description = "Name of the topic."
  type        = string
}

variable "region" {
  description = "Region that messages do not leave."
  type        = string
}

variable "publishers" {
  description = "Name that is known at plan -> member that publishes."
  type        = map(string)
}

variable "readers" {
  description = "Function -> where its pushes go, and its time-out."
  type = map(object({
    uri       = string
    timeout_s = number
  }))
}

variable "operators" {
  description = "Members who may look at dead letters and take them."
  type        = set(string)
}

variable "push_account" {
  description = "Address of the account that pushes are signed with."
  type        = string
}

variable "pubsub_agent" {
  description = "Member that Pub/Sub itself acts as."
  type        = string
}

variable "kms_key" {
  description = "Key of the messages; empty = Google's."
  type        = string
}

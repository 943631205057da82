variable "environment" {
  description = "Name of the environment, for titles."
  type        = string
}

variable "project_number" {
  description = "Number of the project that the budget is about."
  type        = string
}

variable "emails" {
  description = "Addresses that alerts go to."
  type        = set(string)
}

variable "dead_subscriptions" {
  description = "Names of the subscriptions to dead letters."
  type        = list(string)
}

variable "billing_account" {
  description = "Billing account of the budget; empty = none."
  type        = string
}

variable "monthly_budget" {
  description = "Amount of the budget, in the account's currency."
  type        = number
}

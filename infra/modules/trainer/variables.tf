variable "project_id" {
  description = "Project of the custom roles."
  type        = string
}

variable "region" {
  description = "Where trainers run."
  type        = string
}

variable "trainer_launcher" {
  description = "What runs the trainer, compute_engine or cloud_run: it decides what the launchers may do."
  type        = string
}

variable "nat" {
  description = "Whether the network has a way to the internet."
  type        = bool
}

variable "launchers" {
  description = "Name that is known at plan -> member that starts and ends trainers."
  type        = map(string)
}

variable "kms_key" {
  description = "Key of the images; empty = Google's."
  type        = string
}

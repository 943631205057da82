output "bucket" {
  description = "Name of the bucket."
  value       = google_storage_bucket.this.name
}

output "deletable" {
  description = "Whether a destroy deletes the bucket with its objects."
  value       = google_storage_bucket.this.force_destroy
}

output "matrix" {
  description = "\"name/folder\" -> permissions, as the grants give them."
  value = {
    for key, grant in google_storage_managed_folder_iam_member.this :
    key => sort([for permission in google_project_iam_custom_role.this[local.grants[key].set].permissions : trimprefix(permission, "storage.objects.")])
  }
}

output "source_folder" {
  description = "Folder of the functions' sources, with its slash; no account of a function reads it."
  value       = google_storage_managed_folder.this["source"].name
}

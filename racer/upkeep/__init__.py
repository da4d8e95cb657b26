"""What whoever runs an installation needs: backups, a first look, what is missing."""

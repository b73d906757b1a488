"""What one transaction locks, reads, changes and appends."""

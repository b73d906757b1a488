"""What a Jenkins keeps and does, without HTTP: jobs, queue, builds, permissions, faults."""

"""What starts containers: Docker, Podman, plain processes."""

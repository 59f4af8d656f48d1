"""What gateway and worker say to each other: request states, frames and credits."""

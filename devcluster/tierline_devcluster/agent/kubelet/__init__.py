"""What others ask of a node: logs, commands, and where its pods' metrics are."""

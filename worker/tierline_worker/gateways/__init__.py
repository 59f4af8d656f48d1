"""The wire side: gateways' connections, their frames in and out."""

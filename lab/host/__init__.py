"""Virtual machines as namespaces: image, cloud-init, power and guest agent."""

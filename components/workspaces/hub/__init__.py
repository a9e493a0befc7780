"""What runs in the hub's pod."""

"""Films decoded and resized once, so that training and every later pass of mining read pixels and decode nothing."""

"""What each long-running process of ours stands on: log lines, key files, systemd, configuration, MQTT."""

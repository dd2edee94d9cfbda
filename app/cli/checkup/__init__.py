"""What is checked before the service starts, and by `broadsheet doctor`. Nothing here changes anything."""

"""The commands of `broadsheet`: each module has `register(subparsers)`, which sets `run(arguments, settings)`."""

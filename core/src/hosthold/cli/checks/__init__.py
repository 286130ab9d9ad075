"""What `hosthold doctor` looks at, a module each."""

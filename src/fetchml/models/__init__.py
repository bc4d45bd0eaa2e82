"""Values that every floor speaks of: ids, plan, status, manifest, resources."""

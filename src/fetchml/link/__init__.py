"""How this host reaches the gateway of a lab, if it belongs to one."""

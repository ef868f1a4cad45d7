"""The shell room: the node's hands - it joins the rooms and carries out what the core decides."""

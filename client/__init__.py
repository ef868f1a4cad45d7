"""The client room: the user's side - wallet, sealing and opening records, proofs, HTTP."""

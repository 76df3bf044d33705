"""What a proof assistant checks: theorems for all sizes (``*.v``), and identities that derivations decide."""

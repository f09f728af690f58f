"""What listens: for now the control socket only."""

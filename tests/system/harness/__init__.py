"""What the system tests are made of: the real daemon, scripted platforms and desks around it, and the checker of its promise."""
